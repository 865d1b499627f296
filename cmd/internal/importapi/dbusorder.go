package importapi

import "sync"

// order keeps the promise that a client sees TransferNew, the reply to its call
// and TransferRemoved in this order, although the events of a transfer and the
// reply to the call that started it come from two goroutines.
type order struct {
	mu        sync.Mutex
	changed   sync.Cond
	announced uint32 // the last transfer whose TransferNew was sent
	starting  map[*start]struct{}
	ended     bool
}

// start is a call that starts a transfer and has no reply yet.
type start struct{ id uint32 } // 0 while not known

func newOrder() *order {
	o := &order{starting: map[*start]struct{}{}}
	o.changed.L = &o.mu
	return o
}

// enter is called before a transfer is started. leave follows when the call has
// its reply.
func (o *order) enter() *start {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &start{}
	o.starting[s] = struct{}{}
	return s
}

// leave lets the end of the transfer be told.
func (o *order) leave(s *start) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.starting, s)
	o.changed.Broadcast()
}

// started waits until the beginning of the transfer was told. Transfers are
// told in the order of their ids.
func (o *order) started(s *start, id uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.id = id
	o.changed.Broadcast()
	for o.announced < id && !o.ended {
		o.changed.Wait()
	}
}

// told says that TransferNew was sent.
func (o *order) told(id uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.announced = id
	o.changed.Broadcast()
}

// awaitReply waits until the call that started a transfer has its reply. A call
// that does not know its transfer yet may be the one; it will know in the time
// that it takes to start a process.
func (o *order) awaitReply(id uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended && o.isStarting(id) {
		o.changed.Wait()
	}
}

func (o *order) isStarting(id uint32) bool {
	for s := range o.starting {
		if s.id == 0 || s.id == id {
			return true
		}
	}
	return false
}

// end lets everybody go on: no signal is sent any more.
func (o *order) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

package varlink

import (
	"net"
	"sync"
	"time"
)

// Bounds of what one connection may send ahead of the replies. Beyond them its
// data stays in the socket, where the kernel bounds it.
const (
	maxAheadMessages = 32
	maxAheadBytes    = 1 << 20
)

// inbox holds the calls of a connection that wait for their turn.
type inbox struct {
	mu       sync.Mutex
	changed  *sync.Cond
	messages []message
	bytes    int
	closed   bool // nothing will be added
	stalled  bool // the reader waits for room, on the socket's read deadline
	conn     *net.UnixConn
}

func newInbox(conn *net.UnixConn) *inbox {
	b := &inbox{conn: conn}
	b.changed = sync.NewCond(&b.mu)
	return b
}

func (b *inbox) full() bool {
	return len(b.messages) >= maxAheadMessages || b.bytes >= maxAheadBytes
}

// stall reports whether the reader has to wait for room. If so, pop will end
// the wait by moving the read deadline into the past.
func (b *inbox) stall() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalled = b.full()
	return b.stalled
}

// unstall makes the socket readable again after a wait.
func (b *inbox) unstall() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalled = false
	_ = b.conn.SetReadDeadline(time.Time{})
}

// awaitRoom waits until there is room, without looking at the socket.
func (b *inbox) awaitRoom() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.full() && !b.closed {
		b.changed.Wait()
	}
}

func (b *inbox) push(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		m.close()
		return
	}
	b.messages = append(b.messages, m)
	b.bytes += len(m.data)
	b.changed.Broadcast()
}

// pop waits for the next call. It reports false when there will be none.
func (b *inbox) pop() (message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.messages) == 0 {
		if b.closed {
			return message{}, false
		}
		b.changed.Wait()
	}
	m := b.messages[0]
	b.messages[0] = message{}
	b.messages = b.messages[1:]
	b.bytes -= len(m.data)
	if b.stalled && !b.full() {
		b.stalled = false
		_ = b.conn.SetReadDeadline(time.Unix(1, 0))
	}
	b.changed.Broadcast()
	return m, true
}

// finish says that nothing will be added; what is there can still be taken.
func (b *inbox) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
}

// discard drops what is there and whatever else would be added.
func (b *inbox) discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for i := range b.messages {
		b.messages[i].close()
	}
	b.messages, b.bytes = nil, 0
	b.changed.Broadcast()
}

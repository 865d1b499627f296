package machined

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// processWatch tells when processes end. All of them are in one epoll set, which
// one goroutine waits for; the set itself waits in the Go runtime's poller, so
// that not even a thread is held.
type processWatch struct {
	set *os.File
	log *slog.Logger
	wg  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	entries map[int32]watched
	next    int32
}

type watched struct {
	process *Process
	ended   func()
}

func newProcessWatch(log *slog.Logger) (*processWatch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch processes: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else the runtime does not poll it
		return nil, fmt.Errorf("watch processes: %w", errors.Join(err, unix.Close(fd)))
	}
	w := &processWatch{set: os.NewFile(uintptr(fd), "epoll of processes"), log: log, entries: map[int32]watched{}}
	w.wg.Go(w.run)
	return w, nil
}

// add calls ended, on the watch's goroutine, once the process has ended. The
// process must stay open until then or until cancel, after which ended is not
// called any more unless it is under way.
func (w *processWatch) add(p *Process, ended func()) (cancel func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	id := w.next
	w.entries[id] = watched{process: p, ended: ended}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: id}
	if err := w.control(unix.EPOLL_CTL_ADD, p, &event); err != nil {
		delete(w.entries, id)
		return nil, fmt.Errorf("watch process %d: %w", p.PID, err)
	}
	return func() { w.take(id) }, nil
}

// take removes an entry from the set; false if somebody else did.
func (w *processWatch) take(id int32) (watched, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entry, ok := w.entries[id]
	if !ok {
		return watched{}, false
	}
	delete(w.entries, id)
	// Fails only if the set or the pidfd was closed, and then there is no entry.
	_ = w.control(unix.EPOLL_CTL_DEL, entry.process, nil)
	return entry, true
}

func (w *processWatch) control(op int, p *Process, event *unix.EpollEvent) error {
	return withFD(w.set, func(set int) error {
		return p.control(func(fd int) error { return unix.EpollCtl(set, op, fd, event) })
	})
}

func (w *processWatch) run() {
	conn, err := w.set.SyscallConn()
	events := make([]unix.EpollEvent, 128)
	for err == nil {
		n := 0
		var inner error
		err = conn.Read(func(set uintptr) bool {
			n, inner = unix.EpollWait(int(set), events, 0)
			return n != 0 && !errors.Is(inner, unix.EINTR)
		})
		err = errors.Join(err, inner)
		for _, event := range events[:max(n, 0)] {
			if entry, ok := w.take(event.Fd); ok {
				entry.ended()
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.log.Error("watch of processes ended", "error", err)
	}
}

// close ends the watch and waits for a call of ended that is under way.
func (w *processWatch) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	err := w.set.Close()
	w.wg.Wait()
	return err
}

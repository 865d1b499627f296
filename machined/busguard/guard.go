package busguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what may come in.
type Options struct {
	// Descriptors lets calls and replies in that carry file descriptors. Whoever
	// gets them has to close those of every call and every reply. Without it such
	// messages are refused. It says nothing about messages that go out.
	Descriptors bool
	// MaxReply is how long, in bytes, a reply may be; 0 stands for the 128 MiB of
	// the protocol. Calls and signals, which come unasked, have a limit of their own.
	MaxReply int
	Logger   *slog.Logger // nil discards
}

// lingerLimit is how long a bus may take to take what was sent before Close.
const lingerLimit = time.Second

// Guard is the relay of one connection.
type Guard struct {
	client *net.UnixConn // the library's end
	near   *net.UnixConn // our end
	bus    *net.UnixConn
	log    *slog.Logger
	in     sync.Mutex // held while whole messages are written to the library
	out    sync.Mutex // held while whole messages are written to the bus
	once   sync.Once  // a refused message is logged
	wg     sync.WaitGroup
}

// Dial connects to a bus. The address is one as the D-Bus specification has it, or
// several; only local sockets are known. The context ends no connection that is made.
func Dial(ctx context.Context, address string, options Options) (*Guard, error) {
	targets, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	var all error
	for _, target := range targets {
		conn, err := dialer.DialContext(ctx, "unix", target)
		if err == nil {
			return New(conn.(*net.UnixConn), options)
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// New takes over a connection to a bus, before anything was sent over it.
func New(bus *net.UnixConn, options Options) (*Guard, error) {
	client, near, err := socketPair()
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	g := &Guard{client: client, near: near, bus: bus, log: options.Logger}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.wg.Go(func() { g.run(options) })
	return g, nil
}

// Conn is the connection for the library, which begins with its side of the
// authentication and has to close it. That ends the guard once what was sent before
// is passed on.
func (g *Guard) Conn() *net.UnixConn { return g.client }

// Close waits for the end of the relay after the library has closed its connection.
// A bus that takes nothing gets a moment, and no more.
func (g *Guard) Close() {
	// The relay may have closed it already.
	_ = g.bus.SetDeadline(time.Now().Add(lingerLimit))
	g.wg.Wait()
}

func (g *Guard) run(options Options) {
	if err := handshake(g.near, g.bus); err != nil {
		g.ended("authentication", err)
		_, _ = g.near.Close(), g.bus.Close()
		return
	}
	refusals := make(chan []byte, maxRefusals)
	in := newPump(g.bus, g.near, &g.in)
	in.size, in.judge = options.judgeSize, options.judge
	in.refused = func(m *message, r error) []byte { return g.refuse(m, r, refusals) }
	g.wg.Go(func() {
		g.ended("read from the bus", in.run())
		close(refusals)
		// The library closes its end then. Ours stays open: there may be messages
		// in it that were sent before.
		_ = g.near.CloseWrite()
	})
	g.wg.Go(func() {
		out := newPump(g.near, g.bus, &g.out)
		out.refused = g.undelivered
		g.ended("write to the bus", out.run())
		_, _ = g.near.Close(), g.bus.Close()
	})
	// Not by the reader itself: it must not wait for a bus that waits for it.
	g.wg.Go(func() {
		for m := range refusals {
			if err := g.Send(m, nil); err != nil {
				g.ended("refuse a message", err)
			}
		}
	})
}

// ended logs what is not the usual end of a connection.
func (g *Guard) ended(step string, err error) {
	usual := []error{io.EOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET, os.ErrDeadlineExceeded}
	for _, e := range usual {
		if errors.Is(err, e) {
			return
		}
	}
	g.log.Warn("connection to the message bus is given up", "step", step, "error", err)
}

func socketPair() (a, b *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	a, errA := unixConn(fds[0])
	b, errB := unixConn(fds[1])
	if err := errors.Join(errA, errB); err != nil {
		for _, c := range []*net.UnixConn{a, b} {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return a, b, nil
}

// unixConn takes over a descriptor.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "bus guard")
	conn, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"berth/machined/busguard"

	"github.com/godbus/dbus/v5"
)

// ErrNameTaken means that another process owns our name on the bus.
var ErrNameTaken = errors.New("bus name is taken")

// Config of a service.
type Config struct {
	Address string // see [SystemAddress]
	Name    string // the name to own, such as "org.freedesktop.machine1"
	Tree    *Tree
	Logger  *slog.Logger // nil discards
	// Hold, if set, is called for each call; what it returns is called at its
	// end. It keeps an idle timer from firing.
	Hold func() (release func())
	// Connected, if set, is called after the name was acquired, each time.
	Connected func(*dbus.Conn)
}

// Service keeps a name on a bus.
type Service struct {
	config Config
	log    *slog.Logger

	tried     chan struct{}
	onceTried sync.Once

	mu      sync.Mutex
	session *session
}

// New makes a service that [Service.Run] connects.
func New(c Config) *Service {
	s := &Service{config: c, log: c.Logger, tried: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.config.Tree == nil {
		s.config.Tree = &Tree{}
	}
	return s
}

// SystemAddress is where the system bus listens.
func SystemAddress(getenv func(string) string) string {
	if address := getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
		return address
	}
	return "unix:path=/run/dbus/system_bus_socket"
}

// How long Run waits before it tries to connect again. A try at a bus that is
// not there costs one system call.
const (
	firstWait = 100 * time.Millisecond
	maxWait   = 10 * time.Second
)

// Run connects to the bus as soon as that can be reached, and again whenever
// the connection is lost, until ctx ends. Then it disconnects, waits for the
// calls that are under way and returns nil.
func (s *Service) Run(ctx context.Context) error {
	delay, last := firstWait, ""
	for ctx.Err() == nil {
		err := s.serveOnce(ctx)
		s.hasTried()
		switch text := fmt.Sprint(err); {
		case ctx.Err() != nil:
		case err == nil:
			s.log.Info("connection to the message bus was lost")
			delay, last = firstWait, ""
		case text != last:
			// Once: most hosts without a bus never have one.
			s.log.Info("not on the message bus", "error", err)
			last = text
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		delay = min(2*delay, maxWait)
	}
	return nil
}

// Tried is closed when the name is owned for the first time, or when the first
// attempt to own it has failed.
func (s *Service) Tried() <-chan struct{} { return s.tried }

func (s *Service) hasTried() { s.onceTried.Do(func() { close(s.tried) }) }

// serveOnce returns nil after a connection that worked has ended.
func (s *Service) serveOnce(ctx context.Context) error {
	sess := &session{
		service: s, log: s.log, base: ctx, out: make(chan outgoing, maxQueued), ready: make(chan struct{}),
		senders: senders{byName: make(map[string]*sender)},
	}
	guard, err := busguard.Dial(ctx, s.config.Address, busguard.Options{Descriptors: true, Logger: s.log})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.config.Address, err)
	}
	conn, err := dbus.ConnectUnix(guard.Conn(), dbus.WithContext(ctx), dbus.WithHandler(sess), dbus.WithSignalHandler(sess),
		dbus.WithSerialGenerator(new(busguard.Serials)))
	if err != nil {
		sess.abandon()
		guard.Close()
		return fmt.Errorf("connect to %s: %w", s.config.Address, err)
	}
	sess.guard, sess.conn, sess.ctx = guard, conn, conn.Context()
	close(sess.ready)
	var sending sync.WaitGroup
	sending.Go(sess.deliver)
	defer sending.Wait()
	// Before that: who sends to a bus that takes nothing would be waited for.
	defer guard.Close()
	context.AfterFunc(sess.ctx, guard.Close)
	if err := s.own(sess); err != nil {
		return errors.Join(err, sess.close())
	}
	s.set(sess)
	if s.config.Connected != nil {
		s.config.Connected(conn)
	}
	s.log.Info("on the message bus", "name", s.config.Name)
	s.hasTried()
	<-sess.ctx.Done()
	s.set(nil)
	if err := sess.close(); err != nil {
		s.log.Debug("leave the message bus", "error", err)
	}
	return nil
}

// own acquires the name.
func (s *Service) own(sess *session) error {
	var result uint32
	err := sess.conn.BusObject().CallWithContext(sess.ctx, "org.freedesktop.DBus.RequestName", 0,
		s.config.Name, uint32(dbus.NameFlagDoNotQueue)).Store(&result)
	if err != nil {
		return fmt.Errorf("own %s on the bus: %w", s.config.Name, err)
	}
	if dbus.RequestNameReply(result) != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("own %s on the bus: %w by %s", s.config.Name, ErrNameTaken, holder(sess.ctx, sess.conn, s.config.Name))
	}
	return nil
}

func (s *Service) set(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = sess
}

func (s *Service) current() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// Conn is the connection while there is one, else nil.
func (s *Service) Conn() *dbus.Conn {
	if sess := s.current(); sess != nil {
		return sess.conn
	}
	return nil
}

// Emit sends a signal, named "interface.Member", to everybody who listens. It
// does not wait; without a bus it does nothing.
func (s *Service) Emit(path dbus.ObjectPath, name string, args ...any) {
	sess := s.current()
	if sess == nil {
		return
	}
	dot := strings.LastIndexByte(name, '.')
	sess.enqueue(outgoing{message: message{
		kind: dbus.TypeSignal, path: path, iface: name[:max(dot, 0)], member: name[dot+1:], body: args,
	}})
}

// EmitChanged announces new values of properties, and those that clients have
// to ask for.
func (s *Service) EmitChanged(path dbus.ObjectPath, iface string, values map[string]dbus.Variant, invalidated ...string) {
	if values == nil {
		values = map[string]dbus.Variant{}
	}
	if invalidated == nil {
		invalidated = []string{}
	}
	s.Emit(path, properties+".PropertiesChanged", iface, values, invalidated)
}

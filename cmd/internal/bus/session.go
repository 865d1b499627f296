package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"berth/machined/busguard"

	"github.com/godbus/dbus/v5"
)

const (
	// maxQueued bounds the messages that wait for the bus to take them.
	maxQueued = 8192
	// maxBatch is how many bytes are enough for one piece.
	maxBatch = 16 << 10
)

// outgoing is what waits to be sent, with files to close then.
type outgoing struct {
	message message
	files   []*os.File
	// call, if set, is sent instead, by the library.
	call *dbus.Message
}

// session is one connection to the bus, from its beginning to its end.
type session struct {
	service *Service
	log     *slog.Logger
	guard   *busguard.Guard
	conn    *dbus.Conn      // nil if there never was one
	base    context.Context // of the service
	ctx     context.Context // of the connection
	senders senders
	out     chan outgoing
	ready   chan struct{} // closed when conn is set, or never will be
	serial  uint32        // of the last message that deliver sent

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls
}

// The session stands for every object, interface and method, so that all calls
// come through answer below and none through the library's own dispatch.
var (
	_ dbus.Handler         = (*session)(nil)
	_ dbus.ServerObject    = (*session)(nil)
	_ dbus.Interface       = (*session)(nil)
	_ dbus.Method          = (*session)(nil)
	_ dbus.ArgumentDecoder = (*session)(nil)
	_ dbus.SignalHandler   = (*session)(nil)
)

// LookupObject is part of dbus.Handler.
func (s *session) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return s, true }

// LookupInterface is part of dbus.ServerObject.
func (s *session) LookupInterface(string) (dbus.Interface, bool) { return s, true }

// LookupMethod is part of dbus.Interface.
func (s *session) LookupMethod(string) (dbus.Method, bool) { return s, true }

// NumArguments is part of dbus.Method.
func (s *session) NumArguments() int { return 0 }

// NumReturns is part of dbus.Method.
func (s *session) NumReturns() int { return 0 }

// ArgumentValue is part of dbus.Method.
func (s *session) ArgumentValue(int) any { return nil }

// ReturnValue is part of dbus.Method.
func (s *session) ReturnValue(int) any { return nil }

// DecodeArguments passes the whole message on to Call and keeps the library
// from replying: replies go through the queue, in order with signals.
func (s *session) DecodeArguments(_ *dbus.Conn, _ string, msg *dbus.Message, _ []any) ([]any, error) {
	copied := *msg
	msg.Flags |= dbus.FlagNoReplyExpected
	return []any{&copied}, nil
}

// Call answers one call. The library runs it on a goroutine of its own.
func (s *session) Call(args ...any) ([]any, error) {
	msg := args[0].(*dbus.Message)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.running.Add(1)
	}
	s.mu.Unlock()
	call := &Call{msg: msg, base: s.base}
	call.adoptFiles()
	defer call.closeFiles()
	if closed {
		return nil, nil
	}
	defer s.running.Done()
	if hold := s.service.config.Hold; hold != nil {
		defer hold()()
	}
	defer call.replied()
	if <-s.ready; s.conn == nil {
		return nil, nil
	}
	body, files, err := s.run(call)
	if err != nil {
		closeAll(files)
		files = nil
	}
	if msg.Flags&dbus.FlagNoReplyExpected != 0 {
		closeAll(files)
		return nil, nil
	}
	s.send(outgoing{message: replyTo(msg, body, err), files: files})
	return nil, nil
}

func (s *session) run(call *Call) ([]any, []*os.File, error) {
	name := headerString(call.msg, dbus.FieldSender)
	from, ok := s.senders.enter(s.ctx, name)
	if !ok {
		return nil, nil, errorf(ErrorLimitsExceeded, "too many calls at once")
	}
	defer s.senders.leave(from)
	if err := s.senders.identify(s.ctx, s.conn, from); err != nil {
		s.forget(from)
		return nil, nil, &Error{Name: ErrorAccessDenied, Err: err}
	}
	call.caller = from.caller
	ctx, cancel := context.WithCancel(from.ctx)
	defer cancel()
	return s.service.config.Tree.answer(ctx, call)
}

// send queues a message, waiting for room.
func (s *session) send(m outgoing) {
	select {
	case s.out <- m:
	case <-s.ctx.Done():
		closeAll(m.files)
	}
}

// enqueue is send without waiting. A bus that has not taken thousands of messages is
// not going to; the connection is given up then, so that nobody believes to have
// seen every signal.
func (s *session) enqueue(m outgoing) {
	select {
	case s.out <- m:
	case <-s.ctx.Done():
	default:
		s.log.Warn("message bus is stuck, disconnecting")
		_ = s.conn.Close()
	}
}

// deliver sends what is queued until the connection ends.
func (s *session) deliver() {
	for {
		select {
		case m := <-s.out:
			s.sendFrom(m)
		case <-s.ctx.Done():
			return
		}
	}
}

// sendFrom sends a message, and what is queued behind it in the same piece: a reply
// and the signal that belongs to it then wake the bus once.
func (s *session) sendFrom(m outgoing) {
	var batch []byte
	for more := true; more; {
		wire, fds := s.encode(m.message)
		switch {
		case m.call == nil && len(fds) == 0 && batch == nil:
			batch = wire
		case m.call == nil && len(fds) == 0:
			batch = append(batch, wire...)
		default:
			s.flush(batch)
			batch = nil
			s.sendAlone(m, wire, fds)
		}
		closeAll(m.files)
		if more = len(batch) < maxBatch; more {
			select {
			case m = <-s.out:
			default:
				more = false
			}
		}
	}
	s.flush(batch)
}

// encode gives nothing for a message that cannot be encoded. Who waits for a reply
// gets an error instead.
func (s *session) encode(m message) (wire []byte, fds []int) {
	if m.kind == 0 {
		return nil, nil
	}
	s.serial = max(s.serial+1, busguard.FirstSerial)
	wire, fds, err := m.encode(s.serial)
	if err == nil {
		return wire, fds
	}
	s.log.Warn("message cannot be sent", "to", m.destination, "member", m.member, "error", err)
	if m.kind != dbus.TypeMethodReply {
		return nil, nil
	}
	return s.encode(m.instead(err))
}

func (s *session) flush(batch []byte) {
	if len(batch) > 0 {
		_ = s.write(batch, nil) // without descriptors there is nothing to be done
	}
}

// sendAlone sends a call of the library, or a message with descriptors, which the
// kernel may refuse.
func (s *session) sendAlone(m outgoing, wire []byte, fds []int) {
	if m.call != nil {
		s.conn.Send(m.call, nil)
		return
	}
	if err := s.write(wire, fds); errors.Is(err, busguard.ErrNotSent) {
		s.log.Warn("message cannot be sent", "to", m.message.destination, "error", err)
		if m.message.kind == dbus.TypeMethodReply {
			wire, _ = s.encode(m.message.instead(err))
			s.flush(wire)
		}
	}
}

// write gives the connection up if that is broken.
func (s *session) write(wire []byte, fds []int) error {
	err := s.guard.Send(wire, fds)
	if err != nil && !errors.Is(err, busguard.ErrNotSent) {
		s.log.Debug("send to message bus", "error", err)
		_ = s.conn.Close()
	}
	return err
}

// DeliverSignal is part of dbus.SignalHandler. It must not block.
func (s *session) DeliverSignal(iface, name string, signal *dbus.Signal) {
	if signal.Sender != "org.freedesktop.DBus" || iface+"."+name != nameOwnerEvent || len(signal.Body) != 3 {
		return
	}
	who, _ := signal.Body[0].(string)
	owner, _ := signal.Body[2].(string)
	if from := s.senders.find(who); from != nil && owner == "" {
		s.forget(from)
	}
}

// forget drops a sender and the match rule for it, which the bus would keep.
func (s *session) forget(from *sender) {
	if s.senders.drop(from) {
		// By the library, as the rule was made: so neither overtakes the other.
		s.enqueue(outgoing{call: forgetMessage(from.caller.BusName)})
	}
}

// abandon ends a session that never was connected.
func (s *session) abandon() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.ready)
	s.running.Wait()
}

// close ends the connection and waits for the calls that came over it.
func (s *session) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.conn.Close()
	s.senders.close()
	s.running.Wait()
	for {
		select {
		case m := <-s.out:
			closeAll(m.files)
			continue
		default:
		}
		break
	}
	if err != nil {
		return fmt.Errorf("disconnect from message bus: %w", err)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

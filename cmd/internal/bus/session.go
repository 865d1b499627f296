package bus

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/godbus/dbus/v5"
)

// maxQueued bounds the messages that wait for the bus to take them.
const maxQueued = 8192

// outgoing is a message, with files to close once it is sent.
type outgoing struct {
	msg   *dbus.Message
	files []*os.File
}

// session is one connection to the bus, from its beginning to its end.
type session struct {
	service *Service
	log     *slog.Logger
	conn    *dbus.Conn
	base    context.Context // of the service
	ctx     context.Context // of the connection
	senders senders
	out     chan outgoing
	ready   chan struct{} // closed when conn is set

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
	<-s.ready
	body, files, err := s.run(call)
	if err != nil {
		closeAll(files)
		body, files = []any{err.Error()}, nil
	}
	if msg.Flags&dbus.FlagNoReplyExpected != 0 {
		closeAll(files)
		return nil, nil
	}
	s.send(outgoing{reply(msg, body, err), files})
	return nil, nil
}

func (s *session) run(call *Call) ([]any, []*os.File, error) {
	name := headerString(call.msg, dbus.FieldSender)
	from, ok := s.senders.enter(s.ctx, name)
	if !ok {
		return nil, nil, errorf(ErrorLimitsExceeded, "too many calls at once")
	}
	defer s.senders.leave(from)
	if err := from.identify(s.conn); err != nil {
		s.forget(name)
		return nil, nil, &Error{Name: ErrorAccessDenied, Err: err}
	}
	call.caller = from.caller
	ctx, cancel := context.WithCancel(from.ctx)
	defer cancel()
	return s.service.config.Tree.answer(ctx, call)
}

// reply makes the answer to a call, an error reply if err is not nil.
func reply(to *dbus.Message, body []any, err error) *dbus.Message {
	msg := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(to.Serial()),
	}}
	if sender, ok := to.Headers[dbus.FieldSender]; ok {
		msg.Headers[dbus.FieldDestination] = sender
	}
	if err != nil {
		msg.Type = dbus.TypeError
		msg.Headers[dbus.FieldErrorName] = dbus.MakeVariant(errorName(err))
	}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(bodySignature(body))
	}
	return msg
}

// send queues a message, waiting for room.
func (s *session) send(m outgoing) {
	select {
	case s.out <- m:
	case <-s.ctx.Done():
		closeAll(m.files)
	}
}

// signal queues a signal without waiting. A bus that has not taken thousands of
// messages is not going to; the connection is given up then, so that nobody
// believes to have seen every signal.
func (s *session) signal(msg *dbus.Message) {
	select {
	case s.out <- outgoing{msg: msg}:
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
			call := s.conn.Send(m.msg, nil)
			closeAll(m.files)
			if call.Err != nil {
				s.log.Debug("send to message bus", "error", call.Err)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// DeliverSignal is part of dbus.SignalHandler. It must not block.
func (s *session) DeliverSignal(iface, name string, signal *dbus.Signal) {
	if signal.Sender != "org.freedesktop.DBus" || iface+"."+name != nameOwnerEvent || len(signal.Body) != 3 {
		return
	}
	who, _ := signal.Body[0].(string)
	if owner, _ := signal.Body[2].(string); owner == "" {
		s.forget(who)
	}
}

// forget drops a sender and the match rule for it, which the bus would keep.
func (s *session) forget(name string) {
	s.senders.vanished(name)
	select {
	case s.out <- outgoing{msg: forgetMessage(name)}:
	default:
	}
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

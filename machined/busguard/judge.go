package busguard

import "strings"

// maxUnasked is how long a call or a signal may be: in memory the library's values
// are many times as large as the message.
const maxUnasked = 1 << 20

// Errors that a refused call gets.
const (
	errorPrefix       = "org.freedesktop.DBus.Error."
	errorInconsistent = errorPrefix + "InconsistentMessage"
	errorInvalidArgs  = errorPrefix + "InvalidArgs"
	errorLimits       = errorPrefix + "LimitsExceeded"
	errorNotSupported = errorPrefix + "NotSupported"
)

// refusal is why a message does not get through.
type refusal struct{ name, why string }

func (r *refusal) Error() string { return "message is refused: " + r.why }

// malformed is against the rules of the protocol.
func malformed(why string) error { return &refusal{errorInconsistent, why} }

// unreadable is within the rules of the protocol, but not within the library's.
func unreadable(why string) error { return &refusal{errorInvalidArgs, why} }

// judgeSize looks at the header.
func (o Options) judgeSize(m *message) error {
	limit := maxUnasked
	if m.kind == typeReturn || m.kind == typeError {
		limit = maxMessage
		if o.MaxReply > 0 {
			limit = o.MaxReply
		}
	}
	if m.total > limit {
		return &refusal{errorLimits, "it is too long"}
	}
	return nil
}

// judge looks at the whole message.
func (o Options) judge(m *message) error {
	if m.kind == typeSignal && m.iface == "org.freedesktop.DBus" && strings.HasPrefix(m.member, "Name") &&
		(len(m.signature) == 0 || m.signature[0] != 's') {
		return malformed("it names no name") // the library takes the first value for granted
	}
	if m.fds > 0 {
		if err := o.judgeCarrier(m); err != nil {
			return err
		}
	}
	w := walker{data: m.body, order: m.order, fds: m.fds}
	if err := w.values(m.signature, 0); err != nil {
		return err
	}
	if w.pos != len(w.data) {
		return malformed("it goes on after its values")
	}
	if w.unnamed() {
		return unreadable("no value refers to a descriptor")
	}
	return nil
}

// judgeCarrier finds messages whose descriptors nobody would close.
func (o Options) judgeCarrier(m *message) error {
	switch {
	case !o.Descriptors:
		return &refusal{errorNotSupported, "file descriptors are not taken here"}
	case m.kind != typeCall && m.kind != typeReturn, m.unknown:
		return unreadable("file descriptors are not expected in it")
	case m.kind == typeCall && m.iface == "org.freedesktop.DBus.Peer":
		return unreadable("its method takes no file descriptors")
	}
	return nil
}

package busguard

import (
	"encoding/binary"
	"errors"
)

const (
	// maxRefusals is how many wait for a bus that takes them slowly; the callers
	// of further ones wait for their own time limit.
	maxRefusals = 64
	// refusalSerial is out of the way of the library's, which begin with 1.
	refusalSerial = ^uint32(0)
)

// refuse answers a call with an error, and gives an error in place of a reply.
func (g *Guard) refuse(m *message, err error, answers chan<- []byte) []byte {
	g.once.Do(func() {
		g.log.Warn("refused a message", "sender", m.sender, "interface", m.iface, "member", m.member, "error", err)
	})
	name := errorInconsistent
	if r, ok := errors.AsType[*refusal](err); ok {
		name = r.name
	}
	switch {
	case m.kind == typeReturn || m.kind == typeError:
		return errorMessage(name, err.Error(), m.replySerial, fieldSender, m.sender)
	case m.kind == typeCall && m.flags&flagNoReply == 0:
		select {
		case answers <- errorMessage(name, err.Error(), m.serial, fieldDestination, m.sender):
		default:
		}
	}
	return nil
}

// undelivered answers a call of the library that did not get to the bus.
func (g *Guard) undelivered(m *message, err error) []byte {
	g.log.Warn("message does not get to the bus", "interface", m.iface, "member", m.member, "error", err)
	if m.kind != typeCall || m.flags&flagNoReply != 0 {
		return nil
	}
	answer := errorMessage(errorLimits, err.Error(), m.serial, fieldSender, "org.freedesktop.DBus")
	g.in.Lock()
	defer g.in.Unlock()
	if err := writeTo(g.near, answer, nil); err != nil {
		g.ended("answer the library", err)
	}
	return nil
}

// errorMessage is an error reply; the field of the given code names a peer, unless
// that is empty.
func errorMessage(name, text string, serial uint32, code byte, peer string) []byte {
	order := binary.LittleEndian
	fields := stringField(nil, fieldErrorName, 's', name)
	fields = append(pad(fields), fieldReplySerial, 1, 'u', 0)
	fields = order.AppendUint32(fields, serial)
	if peer != "" {
		fields = stringField(fields, code, 's', peer)
	}
	fields = append(pad(fields), fieldSignature, 1, 'g', 0, 1, 's', 0)
	body := appendString(nil, text)

	b := []byte{'l', typeError, flagNoReply, 1}
	b = order.AppendUint32(b, uint32(len(body)))
	b = order.AppendUint32(b, refusalSerial)
	b = order.AppendUint32(b, uint32(len(fields)))
	return append(pad(append(b, fields...)), body...)
}

func stringField(b []byte, code, t byte, value string) []byte {
	return appendString(append(pad(b), code, 1, t, 0), value)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(append(b, s...), 0)
}

// pad fills up to where a header field or a body may begin.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&7)...) }

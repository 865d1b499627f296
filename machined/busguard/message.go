package busguard

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of the protocol.
const (
	fixedHeader = 16
	maxMessage  = 128 << 20
	maxArray    = 64 << 20
	maxFDs      = 253 // the kernel's bound of one message on a socket
)

// Types of messages.
const (
	typeCall   = 1
	typeReturn = 2
	typeError  = 3
	typeSignal = 4
)

// Flags of messages.
const (
	flagNoReply = 1
	knownFlags  = 7
)

// Header fields.
const (
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldFDs         = 9
)

// fieldTypes are the types of the known header fields by their code.
const fieldTypes = "-osssussgu"

// message is one as it stands in a buffer.
type message struct {
	order       binary.ByteOrder
	kind        byte
	flags       byte
	serial      uint32
	header      int // bytes before the body
	total       int // bytes
	iface       string
	member      string
	sender      string
	replySerial uint32
	signature   []byte
	fds         int
	unknown     bool // it has header fields that are not known
	body        []byte
}

// parseFixed reads the first bytes, which tell how long a message is.
func parseFixed(b []byte) (*message, error) {
	m := &message{kind: b[1], flags: b[2]}
	switch b[0] {
	case 'l':
		m.order = binary.LittleEndian
	case 'B':
		m.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("message begins with %#x", b[0])
	}
	if b[3] != 1 {
		return nil, fmt.Errorf("message has version %d of the protocol", b[3])
	}
	body, fields := m.order.Uint32(b[4:]), m.order.Uint32(b[12:])
	if fields > maxArray || body > maxMessage {
		return nil, errors.New("message is too long")
	}
	m.serial = m.order.Uint32(b[8:])
	m.header = (fixedHeader + int(fields) + 7) &^ 7
	m.total = m.header + int(body)
	if m.total > maxMessage {
		return nil, errors.New("message is too long")
	}
	return m, nil
}

// parseFields reads the header fields; b is the whole header.
func (m *message) parseFields(b []byte) error {
	w := walker{data: b[:fixedHeader+m.order.Uint32(b[12:])], order: m.order, pos: fixedHeader}
	var seen [len(fieldTypes)]bool
	for w.pos < len(w.data) {
		code, err := w.fieldCode()
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		signature, at, err := w.variant(2) // in the structures of an array
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		if int(code) >= len(fieldTypes) {
			m.unknown = true
			continue
		}
		if code == 0 || seen[code] || string(signature) != fieldTypes[code:code+1] {
			return fmt.Errorf("header field %d is wrong", code)
		}
		seen[code] = true
		m.set(code, w.data[at:w.pos])
	}
	if m.fds > maxFDs {
		return fmt.Errorf("message with %d descriptors", m.fds)
	}
	return nil
}

// set notes a field of the type it has to have.
func (m *message) set(code byte, value []byte) {
	switch code {
	case fieldInterface:
		m.iface = stringIn(value)
	case fieldMember:
		m.member = stringIn(value)
	case fieldSender:
		m.sender = stringIn(value)
	case fieldSignature:
		m.signature = value[1 : len(value)-1]
	case fieldReplySerial:
		m.replySerial = m.order.Uint32(value[len(value)-4:])
	case fieldFDs:
		m.fds = int(min(m.order.Uint32(value[len(value)-4:]), maxFDs+1))
	}
}

func stringIn(value []byte) string { return string(value[4 : len(value)-1]) }

package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bounds of the protocol and of the kernel.
const (
	fixedHeader = 16
	maxMessage  = 128 << 20
	maxFiles    = 253
	maxLine     = 16 << 10
	readChunk   = 64 << 10
)

var errMalformed = errors.New("malformed message")

// message is one message, or a line before the first one.
type message struct {
	line   []byte
	order  binary.ByteOrder
	header []byte // with its padding
	body   []byte
	files  []int
}

// source reads exact amounts and keeps the descriptors that come along: the
// kernel gives them out with the first byte of their message.
type source struct {
	conn  *net.UnixConn
	files []int
}

func (s *source) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, oobn, _, _, err := s.conn.ReadMsgUnix(p, oob)
	if oobn > 0 {
		messages, parseErr := syscall.ParseSocketControlMessage(oob[:oobn])
		for _, m := range messages {
			if fds, err := syscall.ParseUnixRights(&m); err == nil {
				s.files = append(s.files, fds...)
			}
		}
		err = errors.Join(err, parseErr)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func readMessage(conn *net.UnixConn) (m message, err error) {
	s := &source{conn: conn}
	defer func() {
		m.files = s.files
		if err != nil {
			m.closeFiles()
		}
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(s, first); err != nil {
		return m, err
	}
	switch first[0] {
	case 'l':
		m.order = binary.LittleEndian
	case 'B':
		m.order = binary.BigEndian
	default:
		m.line, err = readLine(s, first)
		return m, err
	}
	fixed := make([]byte, fixedHeader)
	fixed[0] = first[0]
	if _, err := io.ReadFull(s, fixed[1:]); err != nil {
		return m, err
	}
	body, fields := m.order.Uint32(fixed[4:]), m.order.Uint32(fixed[12:])
	if body > maxMessage || fields > maxMessage {
		return m, errMalformed
	}
	if m.header, err = readMore(s, fixed, align(fixedHeader+int(fields), 8)-fixedHeader); err != nil {
		return m, err
	}
	m.body, err = readMore(s, nil, int(body))
	return m, err
}

func readLine(s *source, line []byte) ([]byte, error) {
	for b := make([]byte, 1); line[len(line)-1] != '\n'; {
		if len(line) > maxLine {
			return nil, errMalformed
		}
		if _, err := io.ReadFull(s, b); err != nil {
			return nil, err
		}
		line = append(line, b[0])
	}
	return line, nil
}

// readMore does not believe in n more bytes before they are there.
func readMore(s *source, to []byte, n int) ([]byte, error) {
	for n > 0 {
		chunk := make([]byte, min(n, readChunk))
		if _, err := io.ReadFull(s, chunk); err != nil {
			return nil, err
		}
		to = append(to, chunk...)
		n -= len(chunk)
	}
	return to, nil
}

func align(n, to int) int { return (n + to - 1) / to * to }

// write passes the message on; the descriptors here are closed in any case.
func (m *message) write(to *net.UnixConn) error {
	defer m.closeFiles()
	data := m.line
	if data == nil {
		data = append(m.header[:len(m.header):len(m.header)], m.body...)
	}
	var oob []byte
	if len(m.files) > 0 {
		oob = syscall.UnixRights(m.files...)
	}
	n, _, err := to.WriteMsgUnix(data, oob, nil)
	if err == nil && n < len(data) {
		_, err = to.Write(data[n:])
	}
	if err != nil {
		return fmt.Errorf("pass message on: %w", err)
	}
	return nil
}

func (m *message) closeFiles() {
	for _, fd := range m.files {
		_ = unix.Close(fd) // nothing was written
	}
	m.files = nil
}

// Codes of header fields.
const (
	fieldSignature = 8
	fieldFiles     = 9
)

// harmless reports whether each descriptor is named in the body where the
// library can read it, and only methods and their results have some.
func (m *message) harmless() bool {
	signature, err := m.signature()
	if err != nil || m.header[1] == typeSignal {
		return false
	}
	w := walker{order: m.order, data: m.body, named: map[uint32]bool{}}
	if err := w.all(signature); err != nil || w.listed || w.pos != len(m.body) {
		return false
	}
	for i := range m.files {
		if !w.named[uint32(i)] {
			return false
		}
	}
	return len(w.named) == len(m.files)
}

const typeSignal = 4

func (m *message) signature() (signature string, err error) {
	err = m.eachField(func(code byte, _, value []byte) {
		if code == fieldSignature && value != nil {
			signature = string(value[1 : len(value)-1])
		}
	})
	return signature, err
}

// eachField calls f with the code of each header field, the whole of it and, if
// that is a signature, its value.
func (m *message) eachField(f func(code byte, whole, signature []byte)) error {
	end := fixedHeader + int(m.order.Uint32(m.header[12:]))
	w := walker{order: m.order, data: m.header[:end], pos: fixedHeader}
	for w.pos < end {
		w.pos = align(w.pos, 8)
		begin := w.pos
		if begin+4 > end {
			return errMalformed
		}
		code := m.header[begin]
		w.pos++
		signature, err := w.signature()
		if err != nil {
			return err
		}
		begun := w.pos
		if rest, err := w.value(signature, 0); err != nil || rest != "" {
			return errMalformed
		}
		var value []byte
		if signature == "g" {
			value = m.header[begun:w.pos]
		}
		f(code, m.header[begin:w.pos], value)
	}
	return nil
}

// neutral is the message without its descriptors and with a body of one byte,
// which nobody expects.
func (m *message) neutral() (message, error) {
	m.closeFiles()
	header := append([]byte{}, m.header[:fixedHeader]...)
	err := m.eachField(func(code byte, whole, _ []byte) {
		if code != fieldSignature && code != fieldFiles {
			header = append(pad(header), whole...)
		}
	})
	header = append(pad(header), fieldSignature, 1, 'g', 0, 1, 'y', 0)
	m.order.PutUint32(header[4:], 1)
	m.order.PutUint32(header[12:], uint32(len(header)-fixedHeader))
	return message{order: m.order, header: pad(header), body: []byte{0}}, err
}

func pad(b []byte) []byte { return append(b, make([]byte, align(len(b), 8)-len(b))...) }

package varlink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Bounds of one message, in either direction.
const (
	MaxMessage = 16 << 20 // bytes, without the final NUL
	MaxFDs     = 16       // file descriptors that come with it
	MaxDepth   = 128      // nested arrays and objects
)

// ErrProtocol is wrapped by every error about a peer that breaks the protocol.
// The connection cannot be used any more then.
var ErrProtocol = errors.New("varlink protocol violation")

const (
	smallBuffer = 4 << 10
	// keptBuffer is the most that an idle connection holds on to.
	keptBuffer = 64 << 10
)

// message is one frame without its NUL, and the files that came with it.
type message struct {
	data  []byte
	files []*os.File
}

func (m *message) close() {
	for _, f := range m.files {
		if f != nil {
			_ = f.Close()
		}
	}
	m.files = nil
}

// receiveFunc is the shape of net.UnixConn.ReadMsgUnix, without the address.
type receiveFunc func(p, oob []byte) (n, oobn, flags int, err error)

// framer cuts a byte stream into messages.
type framer struct {
	receive  receiveFunc
	keepFDs  bool // otherwise whatever arrives is closed at once
	buf      []byte
	scanned  int   // bytes at the start of buf known to hold no NUL
	consumed int64 // position in the stream of buf[0]
	oob      []byte
	groups   []fdGroup
}

// fdGroup are the descriptors of one read. The kernel ends a read with the
// piece of data that carries descriptors, and a sender attaches them to the
// first piece of their message: so they belong to the message that the last
// byte of the read is part of, never to one that was complete before it.
type fdGroup struct {
	last  int64 // stream position of the last byte of the read
	files []*os.File
}

func newFramer(receive receiveFunc, keepFDs bool) *framer {
	return &framer{receive: receive, keepFDs: keepFDs, oob: make([]byte, unix.CmsgSpace(4*MaxFDs))}
}

// next returns the next message. It returns io.EOF at the end of the stream
// and io.ErrUnexpectedEOF if that lies within a message.
func (f *framer) next() (message, error) {
	for {
		if i := bytes.IndexByte(f.buf[f.scanned:], 0); i >= 0 {
			return f.cut(f.scanned + i)
		}
		f.scanned = len(f.buf)
		if f.scanned > MaxMessage {
			return message{}, fmt.Errorf("%w: message of more than %d bytes", ErrProtocol, MaxMessage)
		}
		if err := f.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(f.buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return message{}, err
		}
	}
}

// cut takes the message that ends with the NUL at buf[end].
func (f *framer) cut(end int) (message, error) {
	m := message{data: bytes.Clone(f.buf[:end]), files: f.takeFiles(f.consumed + int64(end))}
	f.consumed += int64(end) + 1
	rest := copy(f.buf, f.buf[end+1:])
	f.buf, f.scanned = f.buf[:rest], 0
	if rest == 0 && cap(f.buf) > keptBuffer {
		f.buf = nil
	}
	if len(m.data) > MaxMessage || len(m.files) > MaxFDs {
		m.close()
		return message{}, fmt.Errorf("%w: message of more than %d bytes or %d file descriptors", ErrProtocol, MaxMessage, MaxFDs)
	}
	return m, nil
}

func (f *framer) takeFiles(end int64) []*os.File {
	var files []*os.File
	for len(f.groups) > 0 && f.groups[0].last <= end {
		files = append(files, f.groups[0].files...)
		f.groups = f.groups[1:]
	}
	return files
}

func (f *framer) fill() error {
	if cap(f.buf)-len(f.buf) < smallBuffer/2 {
		f.buf = slices.Grow(f.buf, max(smallBuffer, cap(f.buf)))
	}
	n, oobn, flags, err := f.receive(f.buf[len(f.buf):cap(f.buf)], f.oob)
	n, oobn = max(n, 0), max(oobn, 0)
	files, fdErr := parseFDs(f.oob[:oobn], flags)
	if len(files) > 0 {
		f.keep(files, n)
	}
	f.buf = f.buf[:len(f.buf)+n]
	switch {
	case err != nil:
		return err
	case fdErr != nil:
		return fdErr
	case n == 0:
		return io.EOF
	}
	return nil
}

func (f *framer) keep(files []*os.File, n int) {
	group := fdGroup{last: f.consumed + int64(len(f.buf)+n) - 1, files: files}
	if f.keepFDs && n > 0 {
		f.groups = append(f.groups, group)
		// A peer must not hoard our descriptors behind a message that never ends.
		held := 0
		for _, g := range f.groups {
			held += len(g.files)
		}
		if held <= MaxFDs*2 {
			return
		}
		f.groups = f.groups[:len(f.groups)-1]
	}
	(&message{files: group.files}).close()
}

// close gives back what belongs to messages that never became complete.
func (f *framer) close() {
	for _, g := range f.groups {
		(&message{files: g.files}).close()
	}
	f.groups = nil
}

// checkText refuses what the JSON decoder would silently repair or recurse
// into: bytes that are not UTF-8, and nesting beyond MaxDepth.
func checkText(data []byte) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: message is not UTF-8", ErrProtocol)
	}
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("%w: message nested deeper than %d", ErrProtocol, MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

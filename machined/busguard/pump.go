package busguard

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 64 << 10
	keepBuffer = 1 << 20 // a larger one is not kept after the message it was for
)

// pump passes messages on in one direction. What is in buf up to done is passed on
// or dropped, and up to next it may be passed on.
type pump struct {
	from, to *net.UnixConn
	writing  *sync.Mutex // held while whole messages are written to to

	// size and judge find what does not get through; nil lets everything. refused
	// gets what did not, also for the kernel's reasons, and may give a message to
	// write in its place.
	size, judge func(*message) error
	refused     func(*message, error) []byte

	buf              []byte
	done, next, have int
	control          []byte
	fds              []int // that came with messages that are not passed on yet
}

func newPump(from, to *net.UnixConn, writing *sync.Mutex) *pump {
	return &pump{
		from: from, to: to, writing: writing,
		buf: make([]byte, bufferSize), control: make([]byte, unix.CmsgSpace(4*maxFDs)),
	}
}

// run returns why it ended, io.EOF at the usual end.
func (p *pump) run() (err error) {
	defer func() {
		closeFDs(p.fds)
		// What came before the end.
		_ = p.flush()
	}()
	for {
		if p.have == p.next && len(p.fds) > 0 {
			// They come with the first byte of their message.
			return errors.New("descriptors came without a message")
		}
		m, err := p.header()
		if err != nil {
			return err
		}
		fds, err := p.take(m.fds)
		if err != nil {
			return err
		}
		err = p.message(m, fds)
		closeFDs(fds)
		if err != nil {
			return err
		}
		if len(p.buf) > keepBuffer && p.have == p.next {
			if err := p.flush(); err != nil {
				return err
			}
			p.buf, p.done, p.next, p.have = make([]byte, bufferSize), 0, 0, 0
		}
	}
}

// header reads that of the next message.
func (p *pump) header() (*message, error) {
	if err := p.fill(fixedHeader); err != nil {
		return nil, err
	}
	m, err := parseFixed(p.buf[p.next:])
	if err != nil {
		return nil, err
	}
	if err := p.fill(m.header); err != nil {
		return nil, err
	}
	return m, m.parseFields(p.buf[p.next : p.next+m.header])
}

// message passes one on, or not.
func (p *pump) message(m *message, fds []int) error {
	if p.size != nil {
		if err := p.size(m); err != nil {
			return p.refuse(m, err)
		}
	}
	if err := p.fill(m.total); err != nil {
		return err
	}
	whole := p.buf[p.next : p.next+m.total]
	m.body = whole[m.header:]
	if p.judge != nil {
		if err := p.judge(m); err != nil {
			return p.refuse(m, err)
		}
	}
	whole[2] &= knownFlags // others are to be ignored
	if len(fds) == 0 {
		p.next += m.total
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	p.next += m.total
	p.done = p.next
	err := p.write(whole, fds)
	if errors.Is(err, ErrNotSent) {
		return p.answer(m, &refusal{errorLimits, "its descriptors cannot be passed on: " + err.Error()})
	}
	return err
}

// answer tells that a message was dropped, where somebody waits for it.
func (p *pump) answer(m *message, refusal error) error {
	if answer := p.refused(m, refusal); answer != nil {
		return p.write(answer, nil)
	}
	return nil
}

// refuse drops a message, of which the rest may be still to come.
func (p *pump) refuse(m *message, refusal error) error {
	if err := p.flush(); err != nil {
		return err
	}
	for left := m.total; ; {
		n := min(left, p.have-p.next)
		p.next += n
		p.done = p.next
		if left -= n; left == 0 {
			break
		}
		if err := p.fill(1); err != nil {
			return err
		}
	}
	return p.answer(m, refusal)
}

// fill reads until n bytes are there, and passes on what is ready before it waits.
func (p *pump) fill(n int) error {
	for p.have-p.next < n {
		if err := p.flush(); err != nil {
			return err
		}
		if p.done > 0 {
			p.have = copy(p.buf, p.buf[p.done:p.have])
			p.done, p.next = 0, 0
		}
		if p.have == len(p.buf) {
			// By what is there, not by what the message says.
			grown := make([]byte, 2*len(p.buf))
			copy(grown, p.buf)
			p.buf = grown
		}
		if err := p.read(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pump) read() error {
	n, controls, flags, _, err := p.from.ReadMsgUnix(p.buf[p.have:], p.control)
	if err != nil {
		return err
	}
	p.have += n
	if controls > 0 {
		if err := p.adopt(p.control[:controls]); err != nil {
			return err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return errors.New("descriptors were lost")
	}
	if n == 0 {
		return io.EOF
	}
	return nil
}

// adopt notes the descriptors that came.
func (p *pump) adopt(control []byte) error {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("read control data: %w", err)
	}
	for i := range messages {
		if messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("read control data: %w", err)
		}
		p.fds = append(p.fds, fds...)
	}
	if len(p.fds) > 2*maxFDs { // of a message that is not complete, and of the next
		return errors.New("more descriptors than messages")
	}
	return nil
}

// take gives the next n descriptors, which are the caller's to close.
func (p *pump) take(n int) ([]int, error) {
	if n > len(p.fds) {
		return nil, fmt.Errorf("message with %d descriptors came with %d", n, len(p.fds))
	}
	fds := p.fds[:n:n]
	p.fds = p.fds[n:]
	return fds, nil
}

func (p *pump) flush() error {
	if p.done == p.next {
		return nil
	}
	err := p.write(p.buf[p.done:p.next], nil)
	p.done = p.next
	return err
}

// write sends whole messages, or nothing.
func (p *pump) write(b []byte, fds []int) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return writeTo(p.to, b, fds)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

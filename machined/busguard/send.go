package busguard

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrNotSent means that nothing of a message was sent, and that the connection can
// be used as before: the kernel would not pass its descriptors on, as when too many
// are under way already.
var ErrNotSent = errors.New("message was not sent")

// FirstSerial is the first of the serial numbers for messages that are given to
// [Guard.Send]; those of the library have to be below, see [Serials]. A bus answers
// a reply that it cannot deliver with an error, which names the serial of the reply:
// with one number for both it would end a call of the library.
const FirstSerial = 1 << 31

// Send sends whole messages to the bus that do not come from the library, between
// two that do, and waits until the bus takes them. The descriptors are those of the
// first message, and stay the caller's. It may be called once the library is
// connected.
func (g *Guard) Send(messages []byte, fds []int) error {
	g.out.Lock()
	defer g.out.Unlock()
	return writeTo(g.bus, messages, fds)
}

// writeTo writes whole messages. The descriptors go with the first byte; if the
// kernel refuses them nothing is written, which is [ErrNotSent].
func writeTo(conn *net.UnixConn, b []byte, fds []int) error {
	if len(fds) > 0 {
		n, _, err := conn.WriteMsgUnix(b, syscall.UnixRights(fds...), nil)
		if err != nil && n == 0 && refusedFiles(err) {
			return fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return nil
	}
	_, err := conn.Write(b)
	return err
}

// refusedFiles are the errors by which the kernel refuses descriptors (unix(7),
// sendmsg(2)); all others are about the connection.
func refusedFiles(err error) bool {
	return errors.Is(err, syscall.ETOOMANYREFS) || errors.Is(err, syscall.EBADF) ||
		errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOMEM)
}

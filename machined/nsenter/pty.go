package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// PTY is a pseudo terminal of a machine.
type PTY struct {
	// Master is the caller's end.
	Master *os.File
	// Number is what the machine calls the other end by: /dev/pts/N.
	Number int
}

// Path is the name of the other end within the machine.
func (p PTY) Path() string { return "/dev/pts/" + strconv.Itoa(p.Number) }

// Peer opens the other end, whatever its name leads to now.
func (p PTY) Peer() (*os.File, error) {
	return p.peer(unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC)
}

func (p PTY) peer(flags uintptr) (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, p.Master.Fd(), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return nil, fmt.Errorf("open other end of pseudo terminal: %w", errno)
	}
	return os.NewFile(fd, p.Path()), nil
}

// OpenPTY makes a pseudo terminal in the devpts of the target. The other end
// belongs to owner, a uid of the caller's user namespace, which must be that of
// the target's root if the caller is not root.
func (t Target) OpenPTY(ctx context.Context, owner uint32) (_ PTY, err error) {
	root, err := t.Root()
	if err != nil {
		return PTY{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	master, err := t.openMultiplexer(ctx, root)
	if err != nil {
		return PTY{}, err
	}
	p := PTY{Master: master}
	if err := p.setUp(owner); err != nil {
		return PTY{}, errors.Join(fmt.Errorf("make pseudo terminal: %w", err), master.Close())
	}
	return p, nil
}

// openMultiplexer opens the machine's ptmx. Which devpts a terminal becomes part
// of depends on where it is opened; whose it is, on who opens it.
func (t Target) openMultiplexer(ctx context.Context, root *os.File) (*os.File, error) {
	open := reopen
	if os.Geteuid() != 0 {
		open = func(place *os.File, flags int) (*os.File, error) { return t.reopen(ctx, place, flags) }
	}
	accept := func(st *unix.Stat_t) bool {
		return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(5, 2)
	}
	master, err := openInodeBy(open, root, "/dev/pts/ptmx", accept, unix.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		master, err = openInodeBy(open, root, "/dev/ptmx", accept, unix.O_RDWR)
	}
	return master, err
}

func (p *PTY) setUp(owner uint32) error {
	fd := int(p.Master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	p.Number = n
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	if int(owner) == os.Geteuid() || os.Geteuid() != 0 {
		return nil
	}
	// It was made by the host's root, who is nobody in the machine; the group is
	// the machine's "tty" already, by mount option. Opened for real, it would be
	// hung up when it is closed.
	peer, err := p.peer(unix.O_PATH | unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	return errors.Join(unix.Chown("/proc/self/fd/"+strconv.Itoa(int(peer.Fd())), int(owner), -1), peer.Close())
}

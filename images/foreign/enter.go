package foreign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inside is what a process in a namespace has of whoever started it.
type Inside struct {
	// Files are those that it was handed.
	Files []*os.File
	conn  *net.UnixConn
}

// Enter is the first that a process does which [Start] started: it waits for what it is handed, which is when its
// namespace has users, and becomes root there.
func Enter(place int) (*Inside, error) {
	conn, err := connOf(os.NewFile(uintptr(place), "channel"))
	if err != nil {
		return nil, err
	}
	_, files, err := receive(conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the user namespace: %w", err), conn.Close())
	}
	i := &Inside{files, conn}
	if err := becomeRoot(); err != nil {
		return nil, errors.Join(err, closeAll(files), conn.Close())
	}
	return i, nil
}

// becomeRoot gives up the user of the host for good.
func becomeRoot() error {
	if err := checkMaps(os.Getpid()); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0)); err != nil {
		return fmt.Errorf("become root of the user namespace: %w", err)
	}
	return nil
}

// Open opens a directory that was handed over for reading and for changes of its own attributes: a mount is neither. The
// file that was handed over is closed.
func Open(handed *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(handed.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err = errors.Join(err, handed.Close()); err != nil {
		return nil, fmt.Errorf("open the tree: %w", err)
	}
	return os.NewFile(uintptr(fd), "tree"), nil
}

// EndWithStarter returns a context that ends when whoever started the process is gone. It is for processes that are
// handed nothing more.
func (i *Inside) EndWithStarter(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, files, _ := receive(i.conn) // nothing comes: this is the end
		_ = closeAll(files)
		cancel(errStarterGone)
	}()
	return ctx, func() {
		_ = i.conn.Close()
		<-ended
		cancel(nil)
	}
}

var errStarterGone = errors.New("the process that started this one is gone")

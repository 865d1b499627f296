package compress

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// feed is the end of a pipe that a program reads from. A writer that finds a pipe
// full is woken for each page that is read, and xz(1) reads two at a time. This one
// looks now and then whether there is room for all that it has.
type feed struct {
	*os.File
	size int // what the pipe holds, in bytes
}

// feedStep is how long a feed rests between two looks.
const feedStep = 4 * time.Millisecond

func newFeed(pipe *os.File) feed {
	return feed{File: pipe, size: sizeOf(pipe)}
}

// sizeOf is how much a pipe holds, 0 if nobody can tell.
func sizeOf(pipe *os.File) (size int) {
	control(pipe, func(fd int) (err error) { size, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); return err })
	return max(size, 0)
}

func (f feed) Write(p []byte) (int, error) {
	for !f.ready(len(p)) {
		time.Sleep(feedStep)
	}
	return f.File.Write(p)
}

// ready says whether n bytes have room, or there is no use in waiting: because they
// never will, because nobody is there to make any, or because nobody can tell.
func (f feed) ready(n int) (yes bool) {
	yes = true
	control(f.File, func(fd int) error {
		held, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil || held == 0 || held+n <= f.size {
			return err
		}
		state := []unix.PollFd{{Fd: int32(fd)}}
		_, err = unix.Poll(state, 0)
		yes = err != nil || state[0].Revents&unix.POLLERR != 0
		return err
	})
	return yes
}

// control asks something that is only about speed.
func control(pipe *os.File, ask func(fd int) error) {
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = ask(int(fd)) })
	}
}

package varlink

import (
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// All messages are there before the first is read, so that the kernel joins
// what it may join.
func TestFilesBelongToTheirMessage(t *testing.T) {
	from, to := socketPair(t)
	want := []int{0, 0, 2, 0, 1, 1, 0}
	for i, n := range want {
		files := []*os.File{os.Stdin, os.Stdin}[:n]
		if err := sendMessage(from, fmt.Appendf(nil, `{"n":%d}`, i), files); err != nil {
			t.Fatal(err)
		}
	}
	f := newFramer(func(p, oob []byte) (int, int, int, error) {
		n, oobn, flags, _, err := to.ReadMsgUnix(p, oob)
		return n, oobn, flags, err
	}, true)
	defer f.close()
	for i, n := range want {
		m, err := f.next()
		if err != nil || string(m.data) != fmt.Sprintf(`{"n":%d}`, i) || len(m.files) != n {
			t.Errorf("message %d: %q with %d files, want %d; %v", i, m.data, len(m.files), n, err)
		}
		m.close()
	}
}

package machined

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxNotice is how long a notification may be, in bytes; longer ones are cut.
const maxNotice = 4096

// notice is what a runner said in one notification, see sd_notify(3).
type notice struct {
	leader int // 0: not told
	ready  bool
}

// parseNotice reads lines KEY=VALUE and leaves out what it does not know.
func parseNotice(text string) notice {
	var n notice
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch key {
		case "X_NSPAWN_LEADER_PID":
			if pid, err := parsePID(value); err == nil && pid > 1 {
				n.leader = pid
			}
		case "READY":
			n.ready = value == "1"
		}
	}
	return n
}

// notifySocket is where a runner tells about its machine. It is read as long as
// the machine runs, so that no message of the runner fails or waits.
type notifySocket struct {
	conn    *net.UnixConn
	reading sync.WaitGroup
}

// listenNotify makes the socket in a directory that only we can enter.
func listenNotify(dir, name string) (*notifySocket, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of notification sockets: %w", err)
	}
	path := filepath.Join(dir, name)
	if err := removeFile(path); err != nil {
		return nil, fmt.Errorf("remove notification socket of an earlier run: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", errors.Join(err, conn.Close()))
	}
	return &notifySocket{conn: conn}, nil
}

func (s *notifySocket) path() string { return s.conn.LocalAddr().String() }

// close ends the reading and removes the socket.
func (s *notifySocket) close() error {
	err := s.conn.Close()
	s.reading.Wait()
	return errors.Join(err, removeFile(s.path()))
}

// read begins to read what the process with that PID says. The notices go to
// the channel until enough is closed, and nowhere then.
func (s *notifySocket) read(pid int) (notices <-chan notice, enough chan<- struct{}) {
	out, stop := make(chan notice), make(chan struct{})
	s.reading.Go(func() {
		text, extra := make([]byte, maxNotice), make([]byte, 4096)
		for {
			n, oobn, _, _, err := s.conn.ReadMsgUnix(text, extra)
			if err != nil {
				return
			}
			if senderOf(extra[:oobn]) != pid {
				continue
			}
			select {
			case out <- parseNotice(string(text[:n])):
			case <-stop:
			}
		}
	})
	return out, stop
}

// senderOf returns the PID that the kernel attests, 0 if none, and closes
// descriptors that came along.
func senderOf(control []byte) (pid int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			pid = int(cred.Pid)
		}
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd) // nobody asked for it
			}
		}
	}
	return pid
}

// env is the environment of a runner that tells about its machine.
func (s *notifySocket) env(base []string) []string {
	return append(base[:len(base):len(base)], "NOTIFY_SOCKET="+s.path())
}

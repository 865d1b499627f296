package varlink_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/varlink"
)

// The service manager's sockets of the stock daemons refuse descriptors. Ours get
// them all the same, from clients that came before the daemon too.
func TestSocketThatRefusedDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refuse error
	if err := raw.Control(func(fd uintptr) {
		refuse = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	}); err != nil {
		t.Fatal(err)
	}
	if errors.Is(refuse, unix.ENOPROTOOPT) {
		_ = l.Close() // it was for nothing
		t.Skip("NOT TESTED: needs SO_PASSRIGHTS, Linux 6.16")
	}
	if refuse != nil {
		t.Fatal(refuse)
	}
	early := dial(t, path)
	p := newProbe()
	s := varlink.NewServer(varlink.Info{}, varlink.Options{AcceptFDs: true})
	if err := s.Handle(probeDescription, p.handlers(), varlink.LooseTypes("Anything"), varlink.IgnoreUnknown("Lax")); err != nil {
		t.Fatal(err)
	}
	serveOn(t, s, l)
	for what, c := range map[string]*varlink.Client{"came before": early, "came later": dial(t, path)} {
		// Once this is answered the connection was accepted.
		if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		var out struct{ Content []string }
		_, err = c.Call(t.Context(), "org.example.probe.Files", nil, &out, file)
		if err != nil || len(out.Content) != 1 {
			t.Errorf("client that %s: %d descriptors arrived, %v", what, len(out.Content), err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

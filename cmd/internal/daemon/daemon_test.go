package daemon_test

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/cmd/internal/daemon"
)

func TestListenReplacesADeadSocketOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "socket")
	l, err := daemon.Listen(t.Context(), path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("mode of the socket: %v, %v", st.Mode(), err)
	}
	_, err = daemon.Listen(t.Context(), path, 0o666)
	if !errors.Is(err, daemon.ErrHeld) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second daemon: got %v, want who holds it", err)
	}
	// A daemon that was killed leaves the file behind.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = daemon.Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// The service manager leaves a link from one name of a daemon to the other.
func TestListenReplacesALink(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if err := os.Symlink(first, second); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{first, second} {
		l, err := daemon.Listen(t.Context(), path, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	if st, err := os.Lstat(second); err != nil || st.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v", st, err)
	}
}

func TestLog(t *testing.T) {
	var out strings.Builder
	log := daemon.NewLog(&out, false)
	log.Debug("hidden")
	log.SetPriority(7)
	log.Debug("seen")
	log.With("a", 1).WithGroup("g").Warn("two\nlines", slog.String("b", "x y"), slog.Any("e", errors.New("no")))
	log.SetPriority(3)
	log.Warn("hidden")
	want := "<7>seen\n<4>two\\nlines a=1 g.b=\"x y\" g.e=no\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if log.Priority() != 3 {
		t.Errorf("priority %d", log.Priority())
	}
}

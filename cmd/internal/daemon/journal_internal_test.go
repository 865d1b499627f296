package daemon

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// receive gives the next datagram that a socket got.
func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func listenDatagrams(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, path
}

func TestJournal(t *testing.T) {
	server, path := listenDatagrams(t)
	j, err := dialJournal(path, "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.conn.Close() }()
	var lines strings.Builder
	log := NewLog(&lines, false)
	log.useJournal(j)
	log.With("MESSAGE_ID", "abc").WithGroup("image").Warn("gone", "name", "a\nb", "_x", 1, "é", 2)
	text := `gone image.name="a\nb" image._x=1 image.é=2`
	want := "PRIORITY=4\nSYSLOG_IDENTIFIER=probe\n" + field("MESSAGE", text) + field("MESSAGE_ID", "abc") +
		field("IMAGE_NAME", "a\nb") + field("IMAGE__X", "1") + field("IMAGE__", "2")
	if got := receive(t, server); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	log.Error(strings.Repeat("x", 1<<20))
	if got := lines.String(); len(got) != 1<<20+4 || !strings.HasPrefix(got, "<3>x") {
		t.Errorf("too long for the journal: %d bytes on stderr", len(got))
	}
	if log.Target() != "journal" || NewLog(&lines, false).Target() != "console" {
		t.Errorf("target %s", log.Target())
	}
}

// A journal that takes nothing keeps nobody, and is used again when it does.
func TestStuckJournal(t *testing.T) {
	server, path := listenDatagrams(t)
	j, err := dialJournal(path, "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.conn.Close() }()
	j.patience = time.Millisecond
	var lines strings.Builder
	log := NewLog(&lines, false)
	log.useJournal(j)
	for n := 0; !j.stuck; n++ {
		if n > 1e6 {
			t.Fatalf("%d messages were taken, and none was read", n)
		}
		log.Info("before")
	}
	log.Info("lost") // and this returns
	for j.stuck {
		receive(t, server)
		log.Info("after")
	}
	for !strings.Contains(receive(t, server), field("MESSAGE", "after")) {
	}
	if lines.Len() > 0 {
		t.Errorf("on stderr, which leads to the same journal: %q", lines.String())
	}
}

func field(name, value string) string {
	n := len(value)
	return name + "\n" + string([]byte{byte(n), byte(n >> 8), 0, 0, 0, 0, 0, 0}) + value + "\n"
}

func TestFieldNames(t *testing.T) {
	for key, want := range map[string]string{
		"unit": "UNIT", "_PID": "PID", "9lives": "LIVES", "message": "", "__": "", "priority": "", strings.Repeat("x", 65): "",
	} {
		if got := fieldName(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestLeadsToJournal(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Fstat(int(os.Stderr.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", st.Dev, st.Ino): true, fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false, "": false, "x": false,
	} {
		if got := leadsToJournal(os.Stderr, stream); got != want {
			t.Errorf("%q: %v", stream, got)
		}
	}
}

func TestNotify(t *testing.T) {
	server, path := listenDatagrams(t)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "2000")
	if err := Ready(); err != nil {
		t.Fatal(err)
	}
	if err := Stopping(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- Watchdog(t.Context()) }()
	for _, want := range []string{"READY=1", "STOPPING=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := receive(t, server); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// The socket is gone: that is an error, and the end.
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the end of the service manager goes unnoticed")
	}
	t.Setenv("WATCHDOG_USEC", "")
	if err := Watchdog(t.Context()); err != nil {
		t.Errorf("without a watchdog: %v", err)
	}
}

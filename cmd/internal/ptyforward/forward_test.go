package ptyforward_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/ptyforward"
	"berth/fixtures/await"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openPTY returns a new pseudo terminal. The slave is in raw mode if wanted.
func openPTY(t *testing.T, raw bool) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave = openSlave(t, fmt.Sprintf("/dev/pts/%d", n))
	if raw {
		if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	return master, slave
}

func openSlave(t *testing.T, path string) *os.File {
	t.Helper()
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return slave
}

// user is a terminal of a user with a session behind it.
type user struct {
	t      *testing.T
	keys   *os.File // the master of our side
	inside *os.File // the slave of the other side
	tty    *os.File // the slave of our side
	cancel context.CancelFunc
	ended  chan end
}

type end struct {
	reason ptyforward.Reason
	err    error
}

func startSession(t *testing.T, o ptyforward.Options) *user {
	t.Helper()
	u := &user{t: t, ended: make(chan end, 1)}
	u.keys, u.tty = openPTY(t, false)
	master, inside := openPTY(t, true)
	u.inside = inside
	if err := unix.IoctlSetWinsize(int(u.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 111}); err != nil {
		t.Fatal(err)
	}
	if o.In == nil {
		o.In = u.tty
	}
	if o.Out == nil {
		o.Out = u.tty
	}
	ctx, cancel := context.WithCancel(t.Context())
	u.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		reason, err := ptyforward.Forward(ctx, master, o)
		u.ended <- end{reason, err}
	}()
	return u
}

func (u *user) type_(text string) { //nolint:revive // type is a keyword
	u.t.Helper()
	if _, err := u.keys.WriteString(text); err != nil {
		u.t.Fatal(err)
	}
}

// reads expects exactly that text.
func reads(t *testing.T, f *os.File, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func (u *user) print(text string) {
	u.t.Helper()
	if _, err := u.inside.WriteString(text); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) expectEnd(want ptyforward.Reason) {
	u.t.Helper()
	if e := <-u.ended; e.reason != want || e.err != nil {
		u.t.Fatalf("the session ended with %q, %v, want %q", e.reason, e.err, want)
	}
}

func (u *user) expectCooked() {
	u.t.Helper()
	mode, err := unix.IoctlGetTermios(int(u.tty.Fd()), unix.TCGETS)
	if err != nil || mode.Lflag&unix.ICANON == 0 || mode.Lflag&unix.ECHO == 0 {
		u.t.Errorf("the terminal was not restored: %v", err)
	}
}

func TestKeysAndOutput(t *testing.T) {
	u := startSession(t, ptyforward.Options{})
	u.print("ready")
	reads(t, u.keys, "ready")
	u.type_("\x03\x04x\r") // no key is ours
	reads(t, u.inside, "\x03\x04x\r")
	size, err := unix.IoctlGetWinsize(int(u.inside.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 33 || size.Col != 111 {
		t.Errorf("size %v, %v", size, err)
	}
	u.print("bye")
	if err := u.inside.Close(); err != nil {
		t.Fatal(err)
	}
	u.expectEnd(ptyforward.HungUp)
	reads(t, u.keys, "bye\r\n") // the line is ended
	u.expectCooked()
}

func TestWindowSizeFollows(t *testing.T) {
	u := startSession(t, ptyforward.Options{})
	u.print("ready")
	reads(t, u.keys, "ready")
	if err := unix.IoctlSetWinsize(int(u.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 5, Col: 6}); err != nil {
		t.Fatal(err)
	}
	// The terminal of the test is not the controlling one: nobody else sends it.
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the new size", func() bool {
		size, err := unix.IoctlGetWinsize(int(u.inside.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			t.Fatal(err)
		}
		return size.Row == 5 && size.Col == 6
	})
	u.cancel()
	u.expectEnd(ptyforward.Stopped)
	u.expectCooked()
}

func TestEscapeKeysLeave(t *testing.T) {
	u := startSession(t, ptyforward.Options{Patient: true})
	u.print("ready")
	reads(t, u.keys, "ready")
	u.type_("\x1d\x1da\x1d") // interrupted
	reads(t, u.inside, "\x1d\x1da\x1d")
	u.type_("\x1d\x1d\x1d")
	u.expectEnd(ptyforward.Left)
	u.expectCooked()
}

// Login prompts come and go on the same terminal.
func TestPatientSessionOutlivesItsPrograms(t *testing.T) {
	gone := make(chan struct{})
	u := startSession(t, ptyforward.Options{Patient: true, Gone: gone})
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", u.inside.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	u.print("first")
	reads(t, u.keys, "first")
	if err := u.inside.Close(); err != nil {
		t.Fatal(err)
	}
	u.inside = openSlave(t, path)
	u.print("second")
	reads(t, u.keys, "second")
	u.print("last words")
	if err := u.inside.Close(); err != nil {
		t.Fatal(err)
	}
	close(gone)
	u.expectEnd(ptyforward.Gone)
	reads(t, u.keys, "last words\r\n")
}

// A session without a terminal: input from a pipe, output into another.
func TestPipes(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	result, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{in, feed, result, out} {
		t.Cleanup(func() { _ = f.Close() })
	}
	u := startSession(t, ptyforward.Options{In: in, Out: out, Patient: true})
	text := strings.Repeat("0123456789abcdef\n", 1000) + "rest"
	go func() {
		_, _ = feed.WriteString(text)
		_ = feed.Close()
	}()
	reads(t, u.inside, text+"\x04\x04") // the end of the line, and of the file
	big := bytes.Repeat([]byte("x"), 100000)
	go func() {
		_, _ = u.inside.Write(big)
		_ = u.inside.Close()
	}()
	reads(t, result, string(big))
	// After its input has ended it waits for nobody.
	u.expectEnd(ptyforward.HungUp)
}

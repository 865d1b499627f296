package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/console"

	"golang.org/x/sys/unix"
)

// A copy shows on a terminal how far it is: how much of it is copied where that is known, and nothing before it has
// taken a while.
func TestShowCopied(t *testing.T) {
	for _, test := range []struct {
		copied, total int64
		from          time.Time
		want          string // "": nothing
	}{
		{1 << 30, 2 << 30, time.Time{}, " 50%"},
		{3 << 29, 0, time.Time{}, "\rCopied: 1.5G"},
		{1 << 30, 2 << 30, time.Now().Add(time.Hour), ""},
	} {
		shown := onTerminal(t, func(terminal *os.File) {
			c := &console.Console{Tool: "machinectl", Stderr: terminal, Getenv: func(string) string { return "" }}
			monitor := c.Monitor("Copied:")
			showCopied(monitor, test.from)(test.copied, test.total)
			monitor.End()
		})
		if test.want == "" && shown != "" || !strings.Contains(shown, test.want) {
			t.Errorf("%d of %d from %v on: %q, want %q", test.copied, test.total, test.from, shown, test.want)
		}
	}
}

// onTerminal returns what a function writes to a terminal, which must be little.
func onTerminal(t *testing.T, write func(terminal *os.File)) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	write(slave)
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := master.Read(buffer) // after what was written: EIO
		text.Write(buffer[:n])
		if err != nil {
			return text.String()
		}
	}
}

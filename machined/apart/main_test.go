package apart

import (
	"fmt"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// newRoot names the directory that a process of the tests makes its root.
const newRoot = "BERTH_TEST_ROOT"

func TestMain(m *testing.M) {
	if os.Args[0] == Name {
		os.Exit(Main())
	}
	if dir := os.Getenv(newRoot); dir != "" {
		if err := unix.Chroot(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("up")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
		os.Exit(0)
	}
	// With the race detector a process sleeps for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

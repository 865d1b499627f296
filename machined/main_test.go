package machined

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"berth/machined/apart"
)

func TestMain(m *testing.M) {
	if os.Args[0] == apart.Name {
		os.Exit(apart.Main())
	}
	if mode := os.Getenv("BERTH_TEST_RUNNER"); mode != "" {
		os.Exit(actAsRunner(mode, os.Args[1:]))
	}
	// With the race detector a process sleeps for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

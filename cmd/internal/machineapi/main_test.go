package machineapi_test

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
	// With the race detector a process sleeps for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

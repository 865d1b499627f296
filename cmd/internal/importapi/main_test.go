package importapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/importd"

	"go.uber.org/goleak"
)

// TestMain stands in for the daemon's main: workers are this binary anew.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case importd.WorkerName:
		os.Exit(importd.WorkerMain(nil))
	case importd.UnpackerName:
		os.Exit(importd.UnpackerMain(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

package machined

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("BERTH_TEST_RUNNER"); mode != "" {
		os.Exit(actAsRunner(mode, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

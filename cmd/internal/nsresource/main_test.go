package nsresource_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"berth/images/foreign"
)

// TestMain stands in for the main of a program: what works on trees is this binary anew.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == foreign.Name {
		os.Exit(foreign.Main())
	}
	goleak.VerifyTestMain(m)
}

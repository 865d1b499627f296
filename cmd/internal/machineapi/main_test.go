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
	goleak.VerifyTestMain(m)
}

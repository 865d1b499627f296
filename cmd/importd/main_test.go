package main

import (
	"testing"

	"berth/fixtures/ownhost"
	"berth/images/foreign"
	"berth/importd"
)

// TestMain runs the tests in a host of their own; as one of these programs, this
// binary is what the daemon's is.
func TestMain(m *testing.M) {
	ownhost.Main(m, map[string]func(){
		"systemd-pull": main, "systemd-import": main, "systemd-import-fs": main, "systemd-export": main,
		importd.WorkerName: main, importd.UnpackerName: main, foreign.Name: main,
	})
}

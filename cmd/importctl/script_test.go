package main

import (
	"testing"

	"berth/fixtures/faultserver"
	"berth/fixtures/ownhost"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { ownhost.Main(m, map[string]func(){"importctl": main}) }

// TestScripts holds the contract of the command line, against the real daemon.
func TestScripts(t *testing.T) {
	ownhost.Daemons(t, []string{"importd"})
	ownhost.RunScripts(t, "testdata/script", func(t *testing.T) testscript.Params {
		server := faultserver.Start(t)
		server.Set("/endless.tar", faultserver.Answer{Zeros: 1 << 30, Fault: faultserver.Stall, At: 1 << 20})
		return testscript.Params{Setup: func(e *testscript.Env) error {
			e.Setenv("URL", server.URL(""))
			server.Dir("/files/", e.WorkDir)
			return nil
		}}
	})
}

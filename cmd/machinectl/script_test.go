package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/fixtures/guest"
	"berth/fixtures/ownhost"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { ownhost.Main(m, map[string]func(){"machinectl": main}) }

// TestScripts holds the contract of the command line, against the real daemons.
func TestScripts(t *testing.T) {
	bin := ownhost.Daemons(t, []string{"importd", "machined"}, "importctl")
	ownhost.RunScripts(t, "testdata/script", func(*testing.T) testscript.Params {
		return testscript.Params{
			Setup: func(e *testscript.Env) error {
				e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+bin)
				return nil
			},
			Condition: func(name string) (bool, error) {
				if name == "guest" {
					return makeGuest(t)
				}
				return false, fmt.Errorf("unknown condition %q", name)
			},
		}
	})
}

// makeGuest makes the image berth-cli. It is false where it could not be booted.
func makeGuest(t *testing.T) (bool, error) {
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		return false, nil //nolint:nilerr // the script says what is missing
	}
	dir := filepath.Join("/var/lib/machines", "berth-cli")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	err := guest.Minimal(t.Context(), dir)
	if errors.Is(err, guest.ErrNoBusybox) {
		return false, nil
	}
	return err == nil, err
}

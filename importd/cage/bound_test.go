package cage_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/importd/cage"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

func TestBound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root to drop capabilities")
	}
	var out []byte
	err := cage.Bound([]cap.Value{cap.CHOWN, cap.SETPCAP}, func() (err error) {
		out, err = exec.CommandContext(t.Context(), "/bin/grep", "CapBnd", "/proc/self/status").Output()
		return err
	})
	if got := strings.Fields(string(out)); err != nil || len(got) != 2 || got[1] != "0000000000000101" {
		t.Errorf("bounding set of the child: %q, %v", out, err)
	}
	if has, err := cap.GetBound(cap.KILL); err != nil || !has {
		t.Errorf("this process has lost a capability: %v, %v", has, err)
	}
}

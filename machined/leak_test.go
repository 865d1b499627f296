package machined

import (
	"os"
	"testing"
)

// Whatever becomes of operations, descriptors are given back.
func TestOperationsLeakNothing(t *testing.T) {
	m := bootGuest(t, "berth-leak")
	dir := t.TempDir()
	makeTree(t, dir+"/src")
	closed := func(terminal Terminal, err error) {
		if err == nil {
			err = terminal.File.Close()
		}
		if err != nil {
			t.Log(err)
		}
	}
	all := func() {
		for _, r := range []CopyRequest{
			{Source: dir + "/src", Destination: "/srv", Replace: true},
			{Source: dir + "/src/file", Destination: "/srv"},
			{Source: dir + "/absent", Destination: "/x"},
			{Source: dir + "/src", Destination: "/absent/x"},
		} {
			_ = m.CopyTo(t.Context(), m.name, r)
			_ = m.CopyFrom(t.Context(), m.name, CopyRequest{Source: r.Destination, Destination: dir + "/back"})
		}
		for _, r := range []BindRequest{
			{Source: dir, Destination: "/home"},
			{Source: dir, Destination: "/etc/passwd"},
			{Source: dir, Destination: "/a/b", Mkdir: true},
			{Source: dir, Destination: "/absent"},
			{Source: dir + "/absent"},
		} {
			_ = m.BindMount(t.Context(), m.name, r)
		}
		closed(m.OpenPTY(t.Context(), m.name))
		closed(m.OpenLogin(t.Context(), m.name))
		closed(m.OpenShell(t.Context(), m.name, ShellRequest{Path: "/bin/absent"}))
		if root, err := m.OpenRootDirectory(t.Context(), m.name); err == nil {
			_ = root.Close()
		}
		_, _ = m.Addresses(t.Context(), m.name)
		_, _ = m.OSRelease(t.Context(), m.name)
	}
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	all()
	before := count()
	all()
	if after := count(); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

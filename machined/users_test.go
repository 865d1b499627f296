package machined

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestAccounts(t *testing.T) {
	m := testManager(t, testConfig(t))
	const first = 5 << 20
	range1 := func(host int) syscall.SysProcIDMap {
		return syscall.SysProcIDMap{ContainerID: 0, HostID: host, Size: 65536}
	}
	register(t, m, "plain", shell(t, obey))
	register(t, m, "a-b", namespaced(t, range1(first)))
	register(t, m, "dotted.name", namespaced(t, range1(first+65536)))
	register(t, m, strings.Repeat("x", 22), namespaced(t, range1(first+2*65536)))
	for kind, prefix := range map[IDKind]string{UserIDs: "vu-", GroupIDs: "vg-"} {
		want := Account{kind, prefix + "a-b-1000", first + 1000, "a-b", 1000}
		if got, err := m.AccountByID(t.Context(), kind, first+1000); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if got, err := m.AccountByName(t.Context(), kind, want.Name); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		// 31 bytes is the longest name.
		long := prefix + strings.Repeat("x", 22) + "-10000"
		if got, err := m.AccountByID(t.Context(), kind, first+2*65536+10000); err != nil || got.Name != long {
			t.Errorf("%+v, %v, want %s", got, err, long)
		}
		for _, id := range []uint32{1000, 65536, first + 65536 + 1, first + 65535, ^uint32(0)} {
			if got, err := m.AccountByID(t.Context(), kind, id); err == nil {
				t.Errorf("%s %d: %+v", kind, id, got)
			}
		}
		for _, name := range []string{
			"", "a-b-1000", prefix, prefix + "a-b", prefix + "a-b-", prefix + "a-b-x", prefix + "a-b-01", prefix + "a-b-+1",
			prefix + "a-b-65535", prefix + "a-b-65536", prefix + "a-b-4294967296", prefix + "absent-1",
			prefix + "plain-0", prefix + "plain-100000", prefix + "dotted.name-1", prefix + "a-b-1000\n",
			prefix + strings.Repeat("x", 22) + "-100000", prefix + ".host-0",
		} {
			if got, err := m.AccountByName(t.Context(), kind, name); !errors.Is(err, ErrNoMapping) {
				t.Errorf("%q: %+v, %v", name, got, err)
			}
		}
	}
	if got := (Account{Kind: GroupIDs, Inner: 7, Machine: "foo"}).Description(); got != "GID 7 of Container foo" {
		t.Errorf("description %q", got)
	}
}

// FuzzAccountName: any program of the host may ask for a name. Without machines
// there is none, and what passes for one is safe in every table.
func FuzzAccountName(f *testing.F) {
	for _, seed := range []string{"vu-foo-0", "vg-a-b-65536", "vu--1", "vu-foo-4294967296", "vu-.host-0", "vu-ü-1\n"} {
		f.Add(seed)
	}
	m := testManager(f, testConfig(f))
	f.Fuzz(func(t *testing.T, name string) {
		for _, kind := range []IDKind{UserIDs, GroupIDs} {
			if a, err := m.AccountByName(t.Context(), kind, name); !errors.Is(err, ErrNoMapping) {
				t.Errorf("%q: %+v, %v", name, a, err)
			}
		}
		if validAccountName(name) && (len(name) > 31 || strings.ContainsAny(name, ":/.\n\x00 ")) {
			t.Errorf("%q passes for a name", name)
		}
	})
}

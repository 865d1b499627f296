package machined

import (
	"errors"
	"math"
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestParseIDMap(t *testing.T) {
	got, err := parseIDMap("         0     524288      65536\n  65536 4294967295 1\n")
	if err != nil || !slices.Equal(got, []idRange{{0, 524288, 65536}, {65536, math.MaxUint32, 1}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"0 1\n", "0 x 65536\n", "0 4294967296 1\n", "0 1 2 3"} {
		if got, err := parseIDMap(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		id, from, to, length uint32
		want                 uint32
		ok                   bool
	}{
		{0, 0, 524288, 65536, 524288, true},
		{65534, 0, 524288, 65536, 589822, true},
		{65536, 0, 524288, 65536, 0, false},
		{9, 10, 0, 5, 0, false},
		{14, 10, 0, 5, 4, true},
		{15, 10, 0, 5, 0, false},
		{7, 0, 0, math.MaxUint32, 7, true},
		// The other side is no id, or does not exist.
		{65535, 0, 0, math.MaxUint32, 0, false},
		{5, 0, math.MaxUint32, 100, 0, false},
		{0, 0, math.MaxUint32, 1, 0, false},
		{20, 0, math.MaxUint32 - 10, 100, 0, false},
	} {
		if got, ok := translate(c.id, c.from, c.to, c.length); got != c.want || ok != c.ok {
			t.Errorf("%+v: %d, %v", c, got, ok)
		}
	}
}

// namespaced is a process in a user namespace with the given maps.
func namespaced(t *testing.T, maps ...syscall.SysProcIDMap) *Process {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	return shellIn(t, obey, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps,
	})
}

func TestMapping(t *testing.T) {
	m := testManager(t, testConfig(t))
	register(t, m, "plain", shell(t, obey))
	register(t, m, "first", namespaced(t,
		syscall.SysProcIDMap{ContainerID: 0, HostID: 5 << 20, Size: 1000}, syscall.SysProcIDMap{ContainerID: 2000, HostID: 6 << 20, Size: 10}))
	register(t, m, "second", namespaced(t, syscall.SysProcIDMap{ContainerID: 0, HostID: 7 << 20, Size: 65536}))
	dead := shell(t, obey)
	register(t, m, "dead", dead)
	killed(t, dead)
	for _, kind := range []IDKind{UserIDs, GroupIDs} {
		for _, c := range []struct {
			machine      string
			inner, outer uint32
		}{
			{"plain", 0, 0},
			{"plain", 1000, 1000},
			{"first", 0, 5 << 20},
			{"first", 999, 5<<20 + 999},
			{"first", 2009, 6<<20 + 9},
			{"second", 65534, 7<<20 + 65534},
		} {
			if got, err := m.MapFrom(t.Context(), c.machine, kind, c.inner); err != nil || got != c.outer {
				t.Errorf("%s %d of %s: %d, %v", kind, c.inner, c.machine, got, err)
			}
			if c.machine == "plain" {
				continue
			}
			if machine, got, err := m.MapTo(t.Context(), kind, c.outer); err != nil || machine.Name != c.machine || got != c.inner {
				t.Errorf("%s %d: %s %d, %v", kind, c.outer, machine.Name, got, err)
			}
		}
		for _, c := range []struct {
			machine string
			inner   uint32
			want    error
		}{
			{"first", 1000, ErrNoMapping},
			{"first", 2010, ErrNoMapping},
			{"absent", 0, ErrNoSuchMachine},
			{"first", 65535, ErrInvalidArgument},
			{"absent", math.MaxUint32, ErrInvalidArgument},
			{"dead", 0, ErrNoSuchMachine},
		} {
			if got, err := m.MapFrom(t.Context(), c.machine, kind, c.inner); !errors.Is(err, c.want) {
				t.Errorf("%s %d of %s: %d, %v, want %v", kind, c.inner, c.machine, got, err, c.want)
			}
		}
		for outer, want := range map[uint32]error{
			0: ErrHostID, 1000: ErrHostID, 65535: ErrInvalidArgument, math.MaxUint32: ErrInvalidArgument,
			65536: ErrNoMapping, 5<<20 + 1000: ErrNoMapping, 7<<20 + 65535: ErrNoMapping,
		} {
			if machine, got, err := m.MapTo(t.Context(), kind, outer); !errors.Is(err, want) {
				t.Errorf("%s %d: %s %d, %v, want %v", kind, outer, machine.Name, got, err, want)
			}
		}
	}
}

func TestOnlyContainersMap(t *testing.T) {
	m := managerOf(t, "foo", hostProcess(t))
	m.change(func(machine *Machine) { machine.Class = ClassVM })
	for _, name := range []string{"foo", HostName} {
		if got, err := m.MapFrom(t.Context(), name, UserIDs, 0); !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// FuzzIDMap: a map never translates a number into what is no id, and back it
// leads where it came from.
func FuzzIDMap(f *testing.F) {
	f.Add("0 524288 65536\n", uint32(1000))
	f.Add("0 0 4294967295\n", uint32(65535))
	f.Add("0 4294967290 100\n5 7\n", uint32(50))
	f.Add("-1 + 0x1", uint32(0))
	f.Fuzz(func(t *testing.T, text string, id uint32) {
		ranges, err := parseIDMap(text)
		if err != nil {
			return
		}
		if shift, err := shiftBetween(ranges, ranges); err != nil && (shift != 0 || !errors.Is(err, ErrNotSupported)) {
			t.Errorf("%q: %d, %v", text, shift, err)
		}
		for _, r := range ranges {
			outer, ok := translate(id, r.inner, r.outer, r.length)
			if !ok {
				continue
			}
			if back, ok := translate(outer, r.outer, r.inner, r.length); !ValidID(outer) || ValidID(id) && r.inner != math.MaxUint32 && (!ok || back != id) {
				t.Errorf("%q: %d becomes %d, and back %d, %v", text, id, outer, back, ok)
			}
		}
	})
}

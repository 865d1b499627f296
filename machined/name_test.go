package machined

import (
	"errors"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "foo", "foo-bar", "0a", "a.b.c", "Fedora-Cloud-30-1.2", "self", strings.Repeat("a", 64)} {
		if err := ValidName(name); err != nil {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", ".host", "a.", "a..b", "-a", "a-", "a.-b", "a-.b", "a_b", "a b", "a/b", "unit:a",
		"a\n", "ä", strings.Repeat("a", 65),
	} {
		if err := ValidName(name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("ValidName(%q) = %v, want ErrInvalidName", name, err)
		}
	}
}

func TestScopeName(t *testing.T) {
	for name, want := range map[string]string{
		"foo":     "machine-foo.scope",
		"foo-bar": `machine-foo\x2dbar.scope`,
		"a.b":     "machine-a.b.scope",
		".host":   `machine-\x2ehost.scope`,
		"a/b_c:d": "machine-a-b_c:d.scope",
		`a\b`:     `machine-a\x5cb.scope`,
	} {
		if got := ScopeName(name); got != want {
			t.Errorf("ScopeName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestUnitOwnership(t *testing.T) {
	for _, test := range []struct {
		m           Machine
		owns, stops bool
	}{
		{Machine{Name: "foo", Unit: ScopeName("foo")}, true, true},
		{Machine{Name: "foo", Unit: ScopeName("foo"), Subgroup: "payload"}, false, true},
		{Machine{Name: "foo", Unit: "systemd-nspawn@foo.service", Subgroup: "payload"}, false, true},
		{Machine{Name: "foo", Unit: "systemd-nspawn@bar.service", Subgroup: "payload"}, false, false},
		{Machine{Name: "foo", Unit: "libvirtd.service"}, true, true},
		{Machine{Name: "foo", Unit: "cron.service", UID: 1000}, false, false},
		{Machine{Name: "foo", Unit: ScopeName("foo"), UID: 1000}, true, true},
		{Machine{Name: "foo", Unit: "session-3.scope"}, false, false},
		{Machine{Name: "foo", Unit: "user@1000.service", Subgroup: "machine.slice/a.scope"}, false, false},
		{Machine{Name: "foo"}, false, false},
	} {
		if owns, stops := test.m.ownsWholeUnit(), test.m.mayStopUnit(); owns != test.owns || stops != test.stops {
			t.Errorf("%+v: owns %v, may stop %v", test.m, owns, stops)
		}
	}
}

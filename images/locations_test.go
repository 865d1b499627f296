package images_test

import (
	"slices"
	"testing"

	"berth/images"
)

func TestUserLocations(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	t.Setenv("XDG_STATE_HOME", "relative is not honoured")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	l, err := images.UserLocations()
	check(t, err)
	want := []string{"/run/user/1/machines", "/home/u/.local/state/machines", "/home/u/.local/lib/machines"}
	if got := l.Search[images.ClassMachine]; !slices.Equal(got, want) {
		t.Errorf("searched are %q", got)
	}
	if l.Pool[images.ClassPortable] != "/home/u/.local/state/portables" || l.Host || len(l.Search[images.ClassSysext]) > 0 {
		t.Errorf("%+v", l)
	}
	if l.Locks != "/run/user/1/systemd/nspawn/locks" || l.Settings[0] != "/home/u/.config/systemd/nspawn" {
		t.Errorf("locks %s, settings %q", l.Locks, l.Settings)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	l, err = images.UserLocations()
	check(t, err)
	if l.Locks != "" || len(l.Search[images.ClassMachine]) != 2 {
		t.Errorf("without a runtime directory: %+v", l)
	}
	if _, err := images.NewStore(l).LockName("x"); err != nil {
		t.Errorf("without a runtime directory: %v", err)
	}
}

func TestClasses(t *testing.T) {
	for _, c := range images.Classes() {
		if got, err := images.ParseClass(string(c)); got != c || err != nil {
			t.Errorf("%s: %s, %v", c, got, err)
		}
	}
	for _, s := range []string{"", "Machine", "x"} {
		if _, err := images.ParseClass(s); err == nil {
			t.Errorf("%q is a class", s)
		}
	}
}

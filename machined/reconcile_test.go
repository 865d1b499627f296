package machined

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRestartKeepsTheLivingAndDropsTheDead(t *testing.T) {
	config := testConfig(t)
	first := testManager(t, config)
	alive, dead, supervisor := sleeper(t), sleeper(t), sleeper(t)
	r := validRegistration()
	r.Name, r.Leader.ProcessID = "alive", alive.ProcessID
	r.NetworkInterfaces, r.VSockCID, r.ID = []int{3, 4}, 77, [16]byte{1}
	want, err := first.Register(t.Context(), Caller{PID: supervisor.PID}, r)
	if err != nil {
		t.Fatal(err)
	}
	register(t, first, "dead", dead)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	killed(t, dead)
	before := readState(t, first, "alive")

	events, subscribe := record(t)
	config.OnEvent = subscribe
	second := testManager(t, config)
	wantEvent(t, events, Event{EventRemoved, "dead"})
	got, err := second.Find("alive")
	if diff := cmp.Diff(want, got, cmpMachine); err != nil || diff != "" {
		t.Errorf("restored: %v\n%s", err, diff)
	}
	if files := names(t, config.StateDir); !slices.Equal(files, []string{"alive"}) {
		t.Errorf("files %q", files)
	}
	if after := readState(t, second, "alive"); after != before {
		t.Errorf("state file changed:\n%s", cmp.Diff(before, after))
	}
	killed(t, alive)
	// Had there been a New event for it, it would have come first.
	wantEvent(t, events, Event{EventRemoved, "alive"})
}

func TestRestartDropsRecycledPIDs(t *testing.T) {
	config := testConfig(t)
	if err := os.MkdirAll(config.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := sleeper(t)
	realtime, monotonic := now()
	write := func(name string, id ProcessID, mono uint64) {
		m := Machine{Name: name, Class: ClassVM, Leader: id, Realtime: realtime, Monotonic: mono}
		if err := os.WriteFile(filepath.Join(config.StateDir, name), formatState(m), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("recycled", ProcessID{p.PID, p.PIDFDID + 1}, monotonic)
	// Files of older releases have no inode number: the start time tells.
	write("younger", ProcessID{PID: p.PID}, monotonic-60_000_000)
	write("zgood", ProcessID{PID: p.PID}, monotonic)
	if err := os.Symlink("recycled", filepath.Join(config.StateDir, "unit:foo.service")); err != nil {
		t.Fatal(err)
	}
	m := testManager(t, config)
	list := m.List()
	if len(list) != 1 || list[0].Name != "zgood" || list[0].Leader != p.ProcessID {
		t.Errorf("restored %+v", list)
	}
	if files := names(t, config.StateDir); !slices.Equal(files, []string{"zgood"}) {
		t.Errorf("files %q", files)
	}
}

func TestRestartSurvivesBrokenFiles(t *testing.T) {
	config := testConfig(t)
	if err := os.MkdirAll(config.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := sleeper(t)
	for name, text := range map[string]string{
		"broken": "\x00\x01", "empty": "",
		"good": fmt.Sprintf("NAME=good\nCLASS=container\nLEADER=%d\nLEADER_PIDFDID=%d\nUNKNOWN=x\n", p.PID, p.PIDFDID),
	} {
		if err := os.WriteFile(filepath.Join(config.StateDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	m := testManager(t, config)
	for _, name := range []string{"broken", "empty"} {
		if !strings.Contains(log.String(), filepath.Join(config.StateDir, ".corrupt-"+name)) {
			t.Errorf("%s is not reported: %s", name, &log)
		}
	}
	if _, err := m.Find("good"); err != nil {
		t.Error(err)
	}
	if files, want := names(t, config.StateDir), []string{".corrupt-broken", ".corrupt-empty", "good"}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
	// A name whose file was broken is free.
	other := sleeper(t)
	register(t, m, "broken", other)
	if text := readState(t, m, "broken"); !strings.HasPrefix(text, stateHeader) {
		t.Errorf("state file %q", text)
	}
}

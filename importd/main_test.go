package importd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/images"
	"berth/importd"

	"go.uber.org/goleak"
)

// TestMain stands in for the daemon's main: workers are this binary anew.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case importd.WorkerName:
		os.Exit(importd.WorkerMain(nil))
	case importd.UnpackerName:
		os.Exit(importd.UnpackerMain(os.Args[1:]))
	}
	if dir := os.Getenv(daemonVariable); dir != "" {
		if err := smallDaemon(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// host is an importd with directories of its own.
type host struct {
	t       *testing.T
	root    string // the image root of machines
	manager *importd.Manager
	events  *importd.Subscription
	store   *images.Store
	config  importd.Config
}

func newHost(t *testing.T, change ...func(*importd.Config)) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes files of other users")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-importd-")
	if err != nil {
		t.Fatal(err)
	}
	locations := images.SystemLocations(dir)
	h := &host{t: t, root: locations.Pool[images.ClassMachine], store: images.NewStore(locations)}
	h.config = importd.Config{
		Locations: locations, UserAgent: "berth-test", NoSync: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, c := range change {
		c(&h.config)
	}
	h.manager = importd.New(t.Context(), h.config)
	h.events = h.manager.Subscribe()
	t.Cleanup(func() {
		h.events.Close()
		h.manager.Close()
		if _, err := h.store.Clean(context.Background(), images.ClassMachine, images.CleanAll); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

// start begins a transfer that must be accepted.
func (h *host) start(r importd.Request) *importd.Transfer {
	h.t.Helper()
	if r.Class == "" {
		r.Class = images.ClassMachine
	}
	transfer, err := h.manager.Start(r)
	if err != nil {
		h.t.Fatalf("start %s: %v", r.Kind, err)
	}
	return transfer
}

// do runs a transfer to its end.
func (h *host) do(r importd.Request) error {
	h.t.Helper()
	return h.start(r).Err()
}

// entries lists the image root, hidden names included.
func (h *host) entries() []string {
	h.t.Helper()
	found, err := os.ReadDir(h.root)
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	names := []string{}
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

// mustBeEmpty fails if a transfer left something, spools aside.
func (h *host) mustBeEmpty() {
	h.t.Helper()
	for _, name := range h.entries() {
		if !strings.HasPrefix(name, images.SpoolPrefix) {
			h.t.Errorf("left behind: %q", name)
		}
	}
}

// read returns a file of an image.
func (h *host) read(name ...string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{h.root}, name...)...))
	if err != nil {
		h.t.Error(err)
	}
	return string(text)
}

// tree is a small operating system tree as a tar archive, with files of the
// given size besides.
func tree(t testing.TB, payload ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h *tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"./", "./etc/", "./usr/"} {
		add(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	add(&tar.Header{Name: "./etc/os-release", Typeflag: tar.TypeReg, Mode: 0o644, Uid: 7, Gid: 8}, "ID=test\n")
	for i, p := range payload {
		add(&tar.Header{Name: "./usr/payload" + string(rune('0'+i)), Typeflag: tar.TypeReg, Mode: 0o600}, string(p))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

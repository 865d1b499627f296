package importd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"berth/fixtures/loopfs"
	"berth/importd"
)

// An image on btrfs is exported as it was at one moment, whatever happens to it
// meanwhile, and nothing of that stays.
func TestExportOfAnImageInUse(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 400)
	for _, how := range []string{"to its end", "canceled", "by a helper"} {
		t.Run(how, func(t *testing.T) {
			h := newHost(t)
			if err := os.MkdirAll(filepath.Dir(h.root), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(root, h.root); err != nil {
				t.Fatal(err)
			}
			if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", Force: true, File: temp(t, tree(t, noise(2<<20), []byte("old")))}); err != nil {
				t.Fatal(err)
			}
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close() //nolint:errcheck // only read
			end := h.export(t, how == "by a helper", importd.Request{Kind: importd.ExportTar, Local: "a", File: out})
			// It has begun, and cannot go on before more of it is read.
			first := make([]byte, 1)
			if _, err := io.ReadFull(in, first); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "a/usr/payload1"), []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			if how == "canceled" {
				if err := h.manager.Cancel(h.manager.List()[0].ID); err != nil {
					t.Error(err)
				}
				if err := end(); !errors.Is(err, importd.ErrCanceled) {
					t.Errorf("it ended with %v", err)
				}
			} else {
				rest, err := io.ReadAll(in)
				if err := errors.Join(err, end()); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), "tar", "-xO", "./usr/payload1")
				cmd.Stdin = bytes.NewReader(append(first, rest...))
				if got, err := cmd.Output(); err != nil || string(got) != "old" {
					t.Errorf("what changed meanwhile was exported: %q, %v", got, err)
				}
			}
			if got := h.entries(); !slices.Equal(got, []string{"a"}) {
				t.Errorf("the image root has %q", got)
			}
		})
	}
}

// export starts an export and returns what waits for its end.
func (h *host) export(t *testing.T, helper bool, r importd.Request) (end func() error) {
	t.Helper()
	if !helper {
		return h.start(r).Err
	}
	r.Class = "machine"
	ended := make(chan error, 1)
	go func() {
		err := importd.Do(context.Background(), h.config, r, func(importd.Event) {})
		ended <- errors.Join(err, r.File.Close())
	}()
	return func() error { return <-ended }
}

package importd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/images"
	"berth/importd"
)

// TestClientsCannotWriteElsewhere: a daemon must not be talked into writing to a
// path, or reading one.
func TestClientsCannotWriteElsewhere(t *testing.T) {
	h := newHost(t)
	target := filepath.Join(t.TempDir(), "target")
	for _, r := range []importd.Request{
		{Kind: importd.PullRaw, Class: images.ClassMachine, Remote: "file:///etc/hostname", Direct: &importd.Direct{Path: target}},
		{Kind: importd.ExportRaw, Class: images.ClassMachine, Source: "/etc/hostname", File: temp(t, nil)},
	} {
		_, err := h.manager.Start(r)
		if invalid, ok := errors.AsType[*importd.InvalidError](err); !ok || invalid.Field != "direct" {
			t.Errorf("%s: %v", r.Kind, err)
		}
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

func TestDoRefusesTargetsThatMakeNoSense(t *testing.T) {
	offset, negative := int64(1), int64(-1)
	for field, r := range map[string]importd.Request{
		"direct": {Kind: importd.PullTar, Direct: &importd.Direct{}},
		"offset": {Kind: importd.PullTar, Direct: &importd.Direct{Path: "/a", Offset: &offset}},
	} {
		refusedBy(t, field, r)
	}
	refusedBy(t, "direct", importd.Request{Kind: importd.PullRaw, Direct: &importd.Direct{Path: "a"}})
	refusedBy(t, "direct", importd.Request{Kind: importd.PullRaw, Direct: &importd.Direct{Path: "/a/../b"}})
	refusedBy(t, "offset", importd.Request{Kind: importd.PullRaw, Direct: &importd.Direct{Path: "/a", Offset: &negative}})
	refusedBy(t, "offset", importd.Request{Kind: importd.PullRaw, SizeMax: 1<<63 - 1, Direct: &importd.Direct{Path: "/a", Offset: &offset}})
	refusedBy(t, "zeroFill", importd.Request{Kind: importd.PullRaw, Direct: &importd.Direct{Path: "/a", ZeroFill: true}})
	refusedBy(t, "digest", importd.Request{Kind: importd.PullRaw, Digest: "beef", Local: "a"})
}

func refusedBy(t *testing.T, field string, r importd.Request) {
	t.Helper()
	r.Class, r.Remote = images.ClassMachine, "file:///etc/hostname"
	err := importd.Do(t.Context(), importd.Config{}, r, nil)
	if invalid, ok := errors.AsType[*importd.InvalidError](err); !ok || invalid.Field != field {
		t.Errorf("%+v: %v, want a refusal of %q", r, err, field)
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	err = importd.Do(ctx, h.config, importd.Request{
		Kind: importd.ImportRaw, Class: images.ClassMachine, Local: "a", File: r,
	}, func(importd.Event) { cancel() })
	if !errors.Is(err, importd.ErrCanceled) {
		t.Error(err)
	}
	h.mustBeEmpty()
}

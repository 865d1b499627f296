package importapi_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/images"
	"berth/importd"
)

// client connects to the importd of the host over D-Bus.
func (h *host) client() *importapi.BusClient {
	h.t.Helper()
	h.t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", h.address)
	c, err := importapi.DialBus(h.t.Context(), bus.Target{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return c
}

// heard is what a client was told of a transfer until its end.
type heard struct {
	id       uint32
	logs     int
	progress int
}

func listenTo(updates iter.Seq2[importapi.Update, error]) (h heard, err error) {
	for u, err := range updates {
		switch {
		case err != nil:
			return h, err
		case u.ID != 0:
			h.id = u.ID
		case u.Log != nil:
			h.logs++
		case u.Progress != nil:
			h.progress++
		}
	}
	return h, nil
}

func TestBusClientMovesImages(t *testing.T) {
	h := newHost(t)
	c := h.client()
	ctx := t.Context()
	archive := tree(t)
	machine, portable := images.ClassMachine, images.ClassPortable
	for name, updates := range map[string]iter.Seq2[importapi.Update, error]{
		"import":          c.Import(ctx, importapi.ImportParameters{Local: "a", Type: importapi.FormTar, Class: machine}, temp(t, archive)),
		"import portable": c.Import(ctx, importapi.ImportParameters{Local: "a", Type: importapi.FormTar, Class: portable}, temp(t, archive)),
		"pull":            c.Pull(ctx, importapi.PullParameters{Remote: fileURL(t, archive), Local: "b", Type: importapi.FormTar, Class: machine, Verify: "no"}),
		"pull and keep": c.Pull(ctx, importapi.PullParameters{
			Remote: fileURL(t, archive), Local: "c", Type: importapi.FormTar, Class: machine, Verify: "no", KeepDownload: true,
		}),
	} {
		if heard, err := listenTo(updates); err != nil || heard.id == 0 || heard.logs == 0 {
			t.Errorf("%s: %+v, %v", name, heard, err)
		}
	}
	out := temp(t, nil)
	if _, err := listenTo(c.Export(ctx, importapi.ExportParameters{Local: "b", Type: importapi.FormTar, Class: machine}, out)); err != nil {
		t.Error(err)
	}
	if info, err := out.Stat(); err != nil || info.Size() == 0 {
		t.Errorf("nothing was exported: %v", err)
	}
	list, err := c.ListImages(ctx, machine)
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	if err != nil || !strings.HasPrefix(strings.Join(names, " "), ".tar-file:") || !strings.HasSuffix(strings.Join(names, " "), " a b c") {
		t.Errorf("images are %q, %v", names, err)
	}
}

func fileURL(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// TestBusClientMissesNoEnd: a transfer can be over before its id is known.
func TestBusClientMissesNoEnd(t *testing.T) {
	h := newHost(t)
	c := h.client()
	for range 20 {
		_, err := listenTo(c.Import(t.Context(), importapi.ImportParameters{
			Local: "a", Type: importapi.FormTar, Class: images.ClassMachine,
		}, temp(t, []byte("no archive"))))
		if failure, ok := errors.AsType[*importd.Failure](err); !ok || failure.Text == "the transfer has failed" {
			t.Fatalf("end without a reason: %v", err)
		}
	}
}

func TestBusClientCancels(t *testing.T) {
	h := newHost(t)
	watching, canceling := h.client(), h.client()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	updates := watching.Import(t.Context(), importapi.ImportParameters{Local: "a", Type: importapi.FormTar, Class: images.ClassSysext}, r)
	for u, err := range updates {
		if err != nil {
			if !errors.Is(err, importd.ErrCanceled) {
				t.Error(err)
			}
			break
		}
		if u.ID == 0 {
			continue
		}
		list, err := canceling.ListTransfers(t.Context(), images.ClassSysext)
		if err != nil || len(list) != 1 || list[0].ID != u.ID || list[0].Type != "import-tar" || list[0].Local != "a" {
			t.Errorf("transfers are %+v, %v", list, err)
		}
		if err := canceling.Cancel(t.Context(), u.ID); err != nil {
			t.Error(err)
		}
	}
	if err := canceling.Cancel(t.Context(), 4711); !errors.Is(err, importd.ErrNoSuchTransfer) {
		t.Error(err)
	}
}

// TestBusClientLeaves: the transfer goes on.
func TestBusClientLeaves(t *testing.T) {
	h := newHost(t)
	c := h.client()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	heard, err := listenTo(func(yield func(importapi.Update, error) bool) {
		for u, err := range c.Import(ctx, importapi.ImportParameters{Local: "a", Type: importapi.FormTar, Class: images.ClassMachine}, r) {
			if u.ID != 0 {
				cancel()
			}
			if !yield(u, err) {
				return
			}
		}
	})
	if !errors.Is(err, context.Canceled) || heard.id == 0 {
		t.Errorf("%+v, %v", heard, err)
	}
	if list, err := c.ListTransfers(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("transfers are %+v, %v", list, err)
	}
}

func TestBusClientErrors(t *testing.T) {
	h := newHost(t)
	c := h.client()
	_, err := listenTo(c.PullOCI(t.Context(), importapi.OCIParameters{Reference: "debian", Local: "d", Class: images.ClassMachine}))
	if err == nil || !strings.Contains(err.Error(), "PullOci is not supported") {
		t.Errorf("a registry: %v", err)
	}
	_, err = listenTo(c.Pull(t.Context(), importapi.PullParameters{Remote: "ftp://h/a", Local: "a", Type: importapi.FormRaw, Class: images.ClassMachine}))
	if err == nil || !strings.Contains(err.Error(), "ftp://h/a") {
		t.Errorf("a wrong URL: %v", err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(h.dir, "nothing"))
	if _, err := importapi.DialBus(t.Context(), bus.Target{}); !errors.Is(err, bus.ErrNoBus) {
		t.Errorf("no bus: %v", err)
	}
}

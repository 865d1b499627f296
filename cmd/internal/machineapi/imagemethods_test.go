package machineapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
)

// addImage makes an image that is a directory with an os-release.
func (h *varlinkHost) addImage(name string) {
	h.t.Helper()
	etc := filepath.Join(h.pool, name, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "os-release"), []byte("ID=test\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func TestImageMethodsCheckInOrder(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	refused := newVarlinkHost(t, nobody{})
	for _, host := range []*varlinkHost{h, refused} {
		host.addImage("tree")
		host.addImage("other")
		if err := os.WriteFile(filepath.Join(host.pool, "disk.raw"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(host.pool, "none.v"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const image = "io.systemd.MachineImage."
	const noImage, invalid, denied = image + "NoSuchImage", varlink.ErrorInvalidParameter, varlink.ErrorPermissionDenied
	for _, c := range []struct{ method, in, root, user string }{
		{"List", `{"name":"none"}`, noImage, noImage},
		{"List", `{"name":"none.v"}`, noImage, noImage},
		{"List", `{"name":""}`, invalid, invalid},
		{"List", `{"name":"a/b"}`, invalid, invalid},
		{"List", `{"name":"a/b","acquireMetadata":"yes"}`, invalid, invalid},
		{"List", `{"name":"tree","acquireMetadata":"always"}`, invalid, invalid},
		{"List", `{}`, varlink.ErrorExpectedMore, varlink.ErrorExpectedMore},
		{"List", `{"name":"disk","acquireMetadata":"yes"}`, image + "NotSupported", denied},
		{"Remove", `{"name":"a/b"}`, invalid, invalid},
		{"Remove", `{"name":"none"}`, noImage, noImage},
		{"Remove", `{"name":"tree"}`, "{}", denied},
		{"Clone", `{"name":"other"}`, invalid, invalid},
		{"Clone", `{"name":"other","newName":"a/b"}`, invalid, invalid},
		{"Clone", `{"name":"none","newName":"new"}`, noImage, noImage},
		{"Clone", `{"name":"other","newName":"disk"}`, varlink.ErrorSystem, denied},
		{"Clone", `{"name":"other","newName":"new"}`, "{}", denied},
		{"Update", `{"name":"a/b"}`, invalid, invalid},
		{"Update", `{"name":"other","newName":""}`, invalid, invalid},
		{"Update", `{"name":"other","limit":9223372036854775808}`, invalid, invalid},
		{"Update", `{"name":"none","limit":1}`, noImage, noImage},
		{"Update", `{"name":"other"}`, "{}", denied},
		{"Update", `{"name":"disk","limit":1}`, image + "NotSupported", denied},
		{"Update", `{"name":"disk","limit":18446744073709551615}`, "{}", denied},
		{"SetPoolLimit", `{}`, invalid, invalid},
		{"SetPoolLimit", `{"limit":9223372036854775808}`, invalid, invalid},
		{"CleanPool", `{"mode":"hidden"}`, varlink.ErrorExpectedMore, varlink.ErrorExpectedMore},
		{"CleanPool", `{"mode":"some"}`, invalid, invalid},
	} {
		if got := outcome(t, h.raw, image+c.method, c.in); got != c.root {
			t.Errorf("%s %s as root: %s, want %s", c.method, c.in, got, c.root)
		}
		if got := outcome(t, refused.raw, image+c.method, c.in); got != c.user {
			t.Errorf("%s %s as nobody: %s, want %s", c.method, c.in, got, c.user)
		}
	}
}

// Both parts of an update are tried, and the first error is told.
func TestUpdateOfAnImage(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	h.addImage("tree")
	update := func(in map[string]any) error {
		_, err := h.raw.Call(t.Context(), "io.systemd.MachineImage.Update", in, nil)
		return err
	}
	read := func(name string) (i machineapi.Image) {
		t.Helper()
		if _, err := h.raw.Call(t.Context(), "io.systemd.MachineImage.List", map[string]any{"name": name}, &i); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return i
	}
	if err := update(map[string]any{"name": "tree", "newName": "tree2", "readOnly": true}); err != nil {
		t.Fatal(err)
	}
	if !read("tree2").ReadOnly {
		t.Error("it is not read-only")
	}
	err := update(map[string]any{"name": "tree2", "readOnly": false, "limit": 1 << 20})
	if !isError(err, "io.systemd.MachineImage.NotSupported") && !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("limit of a directory: %v", err)
	}
	if read("tree2").ReadOnly {
		t.Error("what could be done was not: it is read-only still")
	}
	h.addImage("taken")
	err = update(map[string]any{"name": "tree2", "newName": "taken", "readOnly": true})
	if !errors.Is(err, syscall.EEXIST) || read("tree2").ReadOnly {
		t.Errorf("rename to a name that is taken: %v", err)
	}
}

package machineapi_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/cmd/internal/bus"
	"berth/images"

	"github.com/godbus/dbus/v5"
)

// addTree makes an image that is a directory.
func (h *busHost) addTree(name string) {
	h.t.Helper()
	etc := filepath.Join(h.pool, name, "etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		h.t.Fatal(err)
	}
	for file, text := range map[string]string{
		"hostname": "inside\n", "machine-id": "0123456789abcdef0123456789abcdef\n",
		"machine-info": "CHASSIS=container\n", "os-release": "ID=test\nNAME=\"A test\"\n",
	} {
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *busHost) images() (names []string) {
	h.t.Helper()
	type entry struct {
		Name, Type               string
		ReadOnly                 bool
		Created, Modified, Usage uint64
		Path                     dbus.ObjectPath
	}
	for _, e := range get[[]entry](h, "ListImages") {
		if e.Path != imagesPath+dbus.ObjectPath(bus.EscapeLabel(e.Name)) || e.Type == "" {
			h.t.Errorf("image %+v", e)
		}
		names = append(names, e.Name)
	}
	return names
}

func TestImageVerbsOverTheBus(t *testing.T) {
	h := newBusHost(t)
	h.addTree("a")
	on := func(name, method string, args ...any) {
		t.Helper()
		path := get[dbus.ObjectPath](h, "GetImage", name)
		if err := h.object(path).Call(imageIface+"."+method, 0, args...).Err; err != nil {
			t.Errorf("%s %v of %s: %v", method, args, name, err)
		}
	}
	h.do("CloneImage", "a", "b", false)
	on("a", "Clone", "c", true)
	h.do("RenameImage", "b", "b2")
	on("b2", "Rename", "b.3")
	if got := h.images(); !slices.Equal(got, []string{".host", "a", "b.3", "c"}) {
		t.Errorf("images %q", got)
	}
	for _, readOnly := range []bool{true, false} {
		h.do("MarkImageReadOnly", "a", readOnly)
		on("c", "MarkReadOnly", readOnly)
		for _, name := range []string{"a", "c"} {
			if got := h.properties(imagesPath + dbus.ObjectPath(name))["ReadOnly"]; got != readOnly {
				t.Errorf("%s: read-only is %v", name, got)
			}
		}
	}
	h.do("RemoveImage", "a")
	on("b.3", "Remove")
	h.do("RenameImage", "c", ".hidden")
	type removed struct {
		Name  string
		Usage uint64
	}
	if got := get[[]removed](h, "CleanPool", "hidden"); !slices.Equal(got, []removed{{".hidden", images.Unknown}}) {
		t.Errorf("cleaned %v", got)
	}
	if got := get[[]removed](h, "CleanPool", "all"); len(got) != 0 {
		t.Errorf("cleaned %v", got)
	}
	if got := h.images(); !slices.Equal(got, []string{".host"}) {
		t.Errorf("images %q", got)
	}
}

func TestImageObject(t *testing.T) {
	h := newBusHost(t)
	h.addTree("a b")
	path := get[dbus.ObjectPath](h, "GetImage", "a b")
	if path != imagesPath+"a_20b" {
		t.Errorf("path %s", path)
	}
	// A client in Go asserts these types without looking.
	got := h.properties(path)
	created, modified := got["CreationTimestamp"].(uint64), got["ModificationTimestamp"].(uint64)
	if created == 0 && modified == 0 {
		t.Log("the file system keeps no time of creation")
	}
	want := map[string]any{
		"Name": "a b", "Path": filepath.Join(h.pool, "a b"), "Type": got["Type"].(string), "ReadOnly": false,
		"CreationTimestamp": created, "ModificationTimestamp": modified, "Usage": images.Unknown,
		"Limit": images.Unknown, "UsageExclusive": images.Unknown, "LimitExclusive": images.Unknown,
	}
	if !maps.Equal(got, want) {
		t.Errorf("properties %v, want %v", got, want)
	}
	for _, o := range []struct {
		path   dbus.ObjectPath
		prefix string
		args   []any
	}{
		{managerPath, managerIface + ".GetImage", []any{"a b"}}, {path, imageIface + ".Get", nil},
	} {
		var hostname string
		var id []byte
		var info, release map[string]string
		for what, target := range map[string]any{"Hostname": &hostname, "MachineID": &id, "MachineInfo": &info, "OSRelease": &release} {
			if err := h.object(o.path).Call(o.prefix+what, 0, o.args...).Store(target); err != nil {
				t.Errorf("%s%s: %v", o.prefix, what, err)
			}
		}
		if hostname != "inside" || len(id) != 16 || id[1] != 0x23 || info["CHASSIS"] != "container" || release["NAME"] != "A test" {
			t.Errorf("%q %x %v %v", hostname, id, info, release)
		}
	}
	if err := os.Remove(filepath.Join(h.pool, "a b/etc/machine-id")); err != nil {
		t.Fatal(err)
	}
	if id := get[[]byte](h, "GetImageMachineID", "a b"); len(id) != 0 {
		t.Errorf("id of an image without one: %x", id)
	}
}

func TestPoolProperties(t *testing.T) {
	h := newBusHost(t)
	want := map[string]any{"PoolPath": h.pool, "PoolUsage": images.Unknown, "PoolLimit": images.Unknown}
	if got := h.properties(managerPath); !maps.Equal(got, want) {
		t.Errorf("properties %v, want %v", got, want)
	}
}

// Limits are told from what can never be one, and from what cannot be limited.
func TestLimitsOverTheBus(t *testing.T) {
	h := newBusHost(t)
	h.addTree("tree")
	const tooLarge = uint64(1 << 63)
	h.fails(h.call("SetImageLimit", "tree", tooLarge), bus.ErrorInvalidArgs)
	h.fails(h.call("SetImageLimit", "none", tooLarge), "org.freedesktop.machine1.NoSuchImage")
	h.fails(h.call("SetImageLimit", "none", uint64(1)), "org.freedesktop.machine1.NoSuchImage")
	h.fails(h.call("SetImageLimit", images.HostName, uint64(1)), "System.Error.EROFS")
	h.fails(h.call("SetImageLimit", "tree", uint64(1)), bus.ErrorNotSupported)
	h.fails(h.object(imagesPath+"tree").Call(imageIface+".SetLimit", 0, uint64(1)), bus.ErrorNotSupported)
	h.fails(h.call("SetPoolLimit", tooLarge), bus.ErrorInvalidArgs)
	h.fails(h.call("SetPoolLimit", uint64(1)), bus.ErrorNotSupported)
}

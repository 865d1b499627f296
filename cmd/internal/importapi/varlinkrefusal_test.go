package importapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// refusedFile is a file that cannot be imported from or exported to, with what it
// is refused as: the parameter, or an error number.
type refusedFile struct {
	name  string
	file  *os.File
	kind  importapi.Form
	errno syscall.Errno // 0: the parameter is at fault
}

// refusedFiles are those of both transports. What is wrong with them is not in what
// they hold.
func refusedFiles(t *testing.T) []refusedFile {
	t.Helper()
	open := func(path string, flags int) *os.File {
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	plain := temp(t, nil)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, other := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	t.Cleanup(func() { _ = errors.Join(socket.Close(), other.Close()) })
	return []refusedFile{
		{"a device", open(os.DevNull, os.O_RDWR), importapi.FormTar, 0},
		{"a datagram socket", socket, importapi.FormTar, 0},
		{"a directory", open(t.TempDir(), os.O_RDONLY), importapi.FormRaw, 0},
		{"a file as a tree", plain, importapi.FormFS, unix.ENOTDIR},
		{"O_APPEND", open(plain.Name(), os.O_RDWR|os.O_APPEND), importapi.FormTar, unix.EREMOTEIO},
		{"O_PATH", open(plain.Name(), unix.O_PATH), importapi.FormRaw, unix.EREMOTEIO},
		{"O_DIRECT", open(plain.Name(), os.O_RDWR|unix.O_DIRECT), importapi.FormRaw, unix.EREMOTEIO},
	}
}

func TestRefusedFilesOverTheBus(t *testing.T) {
	h := newHost(t)
	imports := map[importapi.Form]string{importapi.FormTar: "ImportTar", importapi.FormRaw: "ImportRaw", importapi.FormFS: "ImportFileSystem"}
	for _, f := range refusedFiles(t) {
		want := bus.ErrorInvalidArgs
		if f.errno != 0 {
			want = "System.Error." + unix.ErrnoName(f.errno)
		}
		h.fails(h.call(imports[f.kind], fd(f.file), "x", false, false), want)
		if f.kind != importapi.FormFS {
			h.fails(h.call("Export"+imports[f.kind][len("Import"):], "x", fd(f.file), ""), want)
		}
	}
}

func TestRefusedFilesOverVarlink(t *testing.T) {
	path, _ := serveVarlink(t, everybody)
	client, raw := dialVarlink(t, path)
	refused := func(f refusedFile, err error) {
		t.Helper()
		invalid, ok := errors.AsType[*importd.InvalidError](err)
		if f.errno == 0 && (!ok || invalid.Field != "fileDescriptor") || f.errno != 0 && !errors.Is(err, f.errno) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	for _, f := range refusedFiles(t) {
		_, err := listenTo(client.Import(t.Context(), importapi.ImportParameters{Local: "x", Type: f.kind, Class: images.ClassMachine}, f.file))
		refused(f, err)
		if f.kind != importapi.FormFS {
			_, err := listenTo(client.Export(t.Context(), importapi.ExportParameters{Local: "x", Type: f.kind, Class: images.ClassMachine}, f.file))
			refused(f, err)
		}
	}
	for _, index := range []int{0, 1, -1, 1 << 30} {
		for _, method := range []string{"Import", "Export"} {
			_, err := raw.Call(t.Context(), "io.berth.Import."+method, map[string]any{
				"fileDescriptor": index, "local": "x", "type": "tar", "class": "machine",
			}, nil)
			refusedParameter(t, method, err, "fileDescriptor")
		}
	}
}

// refusedParameter checks that a call was refused for one of its parameters.
func refusedParameter(t *testing.T, what string, err error, parameter string) {
	t.Helper()
	var in struct{ Parameter string }
	e, ok := errors.AsType[*varlink.Error](err)
	known := ok && slices.Contains([]string{varlink.ErrorInvalidParameter, "io.berth.Import.InvalidRequest"}, e.Name)
	if !known || e.Decode(&in) != nil || in.Parameter != parameter {
		t.Errorf("%s: %v, want that %q is refused", what, err, parameter)
	}
}

func TestErrorsOverVarlink(t *testing.T) {
	path, manager := serveVarlink(t, everybody)
	client, raw := dialVarlink(t, path)
	// pull is a good pull but for one parameter.
	pull := func(parameter string, value any) map[string]any {
		in := map[string]any{"remote": "http://127.0.0.1:1/x.tar", "local": "x", "type": "tar", "class": "machine", "verify": "no"}
		in[parameter] = value
		return in
	}
	for _, test := range []struct {
		in        map[string]any
		parameter string
	}{
		{pull("remote", "ftp://host/x.tar"), "remote"},
		{pull("remote", "http://"), "remote"},
		{pull("remote", "http://höst/x.tar"), "remote"},
		{pull("remote", 7), "remote"},
		{pull("remote", nil), "remote"},
		{pull("local", "../x"), "local"},
		{pull("local", ".#x"), "local"},
		{pull("local", "a\nb"), "local"},
		{pull("type", "fs"), "type"},
		{pull("type", "zip"), "type"},
		{pull("class", "boat"), "class"},
		{pull("class", ""), "class"},
		{pull("class", nil), "class"},
		{pull("verify", "maybe"), "verify"},
		{pull("force", "yes"), "force"},
		{pull("imageRoot", "var/lib"), "imageRoot"},
		{pull("imageRoot", "/var/../etc"), "imageRoot"},
		{pull("flags", 8), "flags"},
	} {
		for _, method := range []string{"io.systemd.Import.Pull", "io.berth.Import.Pull"} {
			_, err := raw.Call(t.Context(), method, test.in, nil)
			text, _ := json.Marshal(test.in) // for the message only
			refusedParameter(t, method+string(text), err, test.parameter)
		}
	}
	for _, test := range []struct {
		method    string
		in        map[string]any
		parameter string
	}{
		{"io.berth.Import.Import", map[string]any{"fileDescriptor": 0, "local": "x", "type": "tar", "class": "boat"}, "class"},
		{"io.berth.Import.Import", map[string]any{"fileDescriptor": "0", "local": "x", "type": "tar", "class": "machine"}, "fileDescriptor"},
		{"io.berth.Import.Import", map[string]any{"fileDescriptor": 0, "local": "x", "type": "oci", "class": "machine"}, "type"},
		{"io.berth.Import.Export", map[string]any{"fileDescriptor": 0, "local": "x", "type": "fs", "class": "machine"}, "type"},
		{"io.berth.Import.Export", map[string]any{"fileDescriptor": 0, "local": "x", "type": "tar", "class": "machine", "format": "rar"}, "format"},
		{"io.berth.Import.Cancel", map[string]any{"id": 0}, "id"},
		{"io.berth.Import.Cancel", map[string]any{"id": 1 << 32}, "id"},
		{"io.systemd.Import.ListTransfers", map[string]any{"class": "boat"}, "class"},
		{"io.berth.Import.ListImages", map[string]any{"class": "boat"}, "class"},
	} {
		_, err := raw.Call(t.Context(), test.method, test.in, nil)
		refusedParameter(t, test.method, err, test.parameter)
	}
	if _, err := raw.Call(t.Context(), "io.berth.Import.Cancel", map[string]any{"id": 99}, nil); !errors.Is(err, &varlink.Error{Name: "io.berth.Import.NoSuchTransfer"}) {
		t.Errorf("cancel of nothing: %v", err)
	}
	if _, err := raw.Call(t.Context(), "io.systemd.Import.Fly", nil, nil); !errors.Is(err, &varlink.Error{Name: varlink.ErrorMethodNotFound}) {
		t.Errorf("an unknown method: %v", err)
	}
	_, err := listenTo(client.PullOCI(t.Context(), importapi.OCIParameters{Reference: "debian", Local: "d", Class: images.ClassMachine}))
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "PullOci is not supported") {
		t.Errorf("a registry: %v", err)
	}
	if _, err := raw.Call(t.Context(), "io.systemd.Import.Pull", pull("type", "oci"), nil); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a registry, by the interface of systemd: %v", err)
	}
	if list := manager.List(); len(list) > 0 {
		t.Errorf("something runs: %v", list)
	}
}

func TestTooManyTransfersOverVarlink(t *testing.T) {
	path, manager := serveVarlink(t, everybody)
	_, raw := dialVarlink(t, path)
	// They wait for the first of them, which waits for the server.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody was accepted
	in := importapi.PullParameters{Remote: "http://" + l.Addr().String() + "/x.tar", Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo}
	for i := range importd.MaxTransfers {
		in.Local = fmt.Sprintf("image-%d", i)
		var started importapi.Update
		if _, err := raw.Call(t.Context(), "io.systemd.Import.Pull", in, &started); err != nil || int(started.ID) != i+1 {
			t.Fatalf("pull %d: id %d, %v", i+1, started.ID, err)
		}
	}
	in.Local = "one-too-many"
	if _, err := raw.Call(t.Context(), "io.systemd.Import.Pull", in, nil); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := raw.Call(t.Context(), "io.berth.Import.Pull", in, nil); !errors.Is(err, &varlink.Error{Name: "io.berth.Import.TooManyTransfers"}) {
		t.Errorf("one too many: %v", err)
	}
	if list := manager.List(); len(list) != importd.MaxTransfers {
		t.Errorf("%d transfers", len(list))
	}
}

// refusing refuses everything with one error.
type refusing struct{ error }

func (r refusing) Check(context.Context, polkit.Subject, string, map[string]string, bool) error {
	return r.error
}

func TestDeniedOverVarlink(t *testing.T) {
	for _, test := range []struct{ denied, want error }{
		{polkit.ErrDenied, varlink.PermissionDenied()},
		{polkit.ErrInteractive, &varlink.Error{Name: "io.systemd.InteractiveAuthenticationRequired"}},
	} {
		path, manager := serveVarlink(t, refusing{test.denied})
		_, raw := dialVarlink(t, path)
		for method, in := range map[string]any{
			"io.systemd.Import.Pull": importapi.PullParameters{Remote: "http://127.0.0.1:1/a.tar", Type: importapi.FormTar, Class: images.ClassMachine},
			"io.berth.Import.Import": importapi.ImportParameters{Local: "x", Type: importapi.FormTar, Class: images.ClassMachine},
			"io.berth.Import.Export": importapi.ExportParameters{Local: "x", Type: importapi.FormTar, Class: images.ClassMachine},
			"io.berth.Import.Cancel": map[string]int{"id": 1},
		} {
			if _, err := raw.Call(t.Context(), method, in, nil); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", method, err, test.want)
			}
		}
		if list := manager.List(); len(list) > 0 {
			t.Errorf("something runs: %v", list)
		}
	}
}

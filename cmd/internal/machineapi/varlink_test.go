package machineapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"
)

// varlinkHost is machined behind a Varlink socket of the test's own.
type varlinkHost struct {
	t       *testing.T
	service *machineapi.Service
	manager *machined.Manager
	server  *varlink.Server
	client  *machineapi.Client
	raw     *varlink.Client
	state   string // directory of state files
	pool    string // directory of images
}

func newVarlinkHost(t *testing.T, auth machineapi.Authorizer, change ...func(*machined.Config)) *varlinkHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: registers machines")
	}
	dir := t.TempDir()
	locations := images.SystemLocations(dir)
	locations.Host = false
	h := &varlinkHost{t: t, state: filepath.Join(dir, "state"), pool: locations.Pool[images.ClassMachine]}
	config := machined.Config{
		StateDir: h.state, RunDir: dir, LogDir: dir, Images: images.NewStore(locations),
		Host: true, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&config)
	}
	manager, err := machined.New(config)
	if err != nil {
		t.Fatal(err)
	}
	h.manager = manager
	t.Cleanup(func() {
		if err := manager.Close(); err != nil {
			t.Error(err)
		}
	})
	h.service = &machineapi.Service{Manager: manager, Auth: auth}
	h.server = varlink.NewServer(varlink.Info{Vendor: "test"}, varlink.Options{AcceptFDs: true, CheckReplies: true})
	if err := h.service.Varlink(h.server); err != nil {
		t.Fatal(err)
	}
	h.dial(h.listen(h.server))
	return h
}

// listen serves a server until the test ends, and returns its socket.
func (h *varlinkHost) listen(server *varlink.Server) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "socket")
	l, err := new(net.ListenConfig).Listen(h.t.Context(), "unix", path)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
	return path
}

func (h *varlinkHost) dial(path string) {
	h.t.Helper()
	var err, rawErr error
	h.client, err = machineapi.Dial(h.t.Context(), path)
	h.raw, rawErr = varlink.Dial(h.t.Context(), path)
	if err := errors.Join(err, rawErr); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := errors.Join(h.client.Close(), h.raw.Close()); err != nil {
			h.t.Error(err)
		}
	})
}

// leader starts a process that lives until the test ends or it is killed.
func (h *varlinkHost) leader() int {
	h.t.Helper()
	cmd := exec.Command("/bin/cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = stdin.Close() // the process may be gone
		_ = cmd.Wait()    // and may have been killed
	})
	return cmd.Process.Pid
}

func (h *varlinkHost) register(in map[string]any) error {
	_, err := h.raw.Call(h.t.Context(), "io.systemd.Machine.Register", in, nil)
	return err
}

var rootOnly = polkit.Local{Group: polkit.NoGroup}

func isError(err error, name string) bool { return errors.Is(err, &varlink.Error{Name: name}) }

func TestMachinesOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	pid := h.leader()
	in := map[string]any{
		"name": "foo", "class": "container", "service": "test", "leader": pid,
		"id": "0123456789abcdef0123456789abcdef", "rootDirectory": "/var/lib/machines/foo",
		"ifIndices": []int{1}, "somethingNewer": 1,
	}
	if err := h.register(in); err != nil {
		t.Fatal(err)
	}
	if err := h.register(in); !isError(err, "io.systemd.Machine.MachineExists") {
		t.Errorf("second registration: %v", err)
	}
	m, err := h.client.Machine(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != in["id"] || m.Leader == nil || m.Leader.PID != pid || m.Service != "test" || m.RootDirectory != in["rootDirectory"] {
		t.Errorf("machine %+v", m)
	}
	if _, err := os.Stat(filepath.Join(h.state, "foo")); err != nil {
		t.Error(err)
	}
	all, err := h.client.Machines(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != machined.HostName || all[1].Name != "foo" {
		t.Errorf("machines %+v, %v", all, err)
	}
	h.lookups(pid)
	if err := h.client.Kill(t.Context(), "foo", "", 99); err == nil {
		t.Error("signal 99 was sent")
	}
	if _, err := h.raw.Call(t.Context(), "io.systemd.Machine.Unregister", map[string]any{"pid": pid}, nil); err != nil {
		t.Errorf("unregister by pid: %v", err)
	}
	if _, err := h.client.Machine(t.Context(), "foo"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("after it was unregistered: %v", err)
	}
}

// lookups tries the ways to name the machine foo.
func (h *varlinkHost) lookups(pid int) {
	h.t.Helper()
	for _, test := range []struct {
		in   string
		want string // name of the machine, or of the error
	}{
		{`{"name":"foo"}`, "foo"},
		{`{"name":".host"}`, ".host"},
		{`{"pid":` + text(pid) + `}`, "foo"},
		{`{"pid":"` + text(pid) + `"}`, "foo"},
		{`{"pid":{"pid":` + text(pid) + `}}`, "foo"},
		{`{"pid":{"pid":"` + text(pid) + `","pidfdId":` + text(h.pidfdID(pid)) + `}}`, "foo"},
		{`{"pid":{"pid":` + text(pid) + `,"pidfdId":1}}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"pid":{"pid":` + text(pid) + `,"bootId":"0123456789abcdef0123456789abcdef"}}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"pid":{"pid":` + text(pid) + `,"color":"red"}}`, varlink.ErrorInvalidParameter},
		{`{"pid":{}}`, varlink.ErrorInvalidParameter},
		{`{"pid":{"pid":0,"pidfdId":1}}`, varlink.ErrorInvalidParameter},
		{`{"pid":"x"}`, varlink.ErrorInvalidParameter},
		{`{"pid":true}`, varlink.ErrorInvalidParameter},
		{`{"pid":1.5}`, varlink.ErrorInvalidParameter},
		{`{"pid":4294967296}`, varlink.ErrorInvalidParameter},
		{`{"pid":0}`, "io.systemd.Machine.NoSuchMachine"}, // the caller is the test
		{`{"pid":"0"}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"pid":1}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"pid":null,"name":"foo"}`, "foo"},
		{`{"name":""}`, varlink.ErrorInvalidParameter},
		{`{"name":"bar","pid":` + text(pid) + `}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"name":"foo","pid":` + text(pid) + `}`, "foo"},
		{`{"name":".host","pid":` + text(pid) + `}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"name":"bar"}`, "io.systemd.Machine.NoSuchMachine"},
		{`{"name":"../x"}`, varlink.ErrorInvalidParameter},
		{`{"pid":-1}`, varlink.ErrorInvalidParameter},
		{`{"unknown":1}`, varlink.ErrorInvalidParameter},
		{`{"acquireMetadata":"perhaps","name":"foo"}`, varlink.ErrorInvalidParameter},
		{`{}`, varlink.ErrorExpectedMore},
	} {
		var out struct{ Name string }
		_, err := h.raw.Call(h.t.Context(), "io.systemd.Machine.List", json.RawMessage(test.in), &out)
		var e *varlink.Error
		got := out.Name
		if errors.As(err, &e) {
			got = e.Name
		}
		if got != test.want {
			h.t.Errorf("List %s: %q (%v), want %q", test.in, got, err, test.want)
		}
	}
}

// pidfdID is the inode number of a process's pidfd.
func (h *varlinkHost) pidfdID(pid int) int {
	h.t.Helper()
	p, err := machined.OpenProcess(pid)
	if err != nil {
		h.t.Fatal(err)
	}
	defer p.Close()
	return int(p.PIDFDID)
}

func text(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestTerminateOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	pid := h.leader()
	if err := h.register(map[string]any{"name": "foo", "class": "vm", "leader": pid}); err != nil {
		t.Fatal(err)
	}
	leader, err := machined.OpenProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Close()
	if err := h.client.Kill(t.Context(), "foo", machined.KillLeader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for leader.Alive() { // it dies when the kernel comes to it
		runtime.Gosched()
	}
	// A dead machine does not block its name, however soon.
	if err := h.register(map[string]any{"name": "foo", "class": "vm", "leader": h.leader()}); err != nil {
		t.Errorf("registration after the end: %v", err)
	}
	if err := h.client.Terminate(t.Context(), machined.HostName); !errors.Is(err, machined.ErrNotSupported) {
		t.Errorf("terminate the host: %v", err)
	}
}

func TestImagesOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	if err := os.MkdirAll(filepath.Join(h.pool, "a", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.pool, "a", "etc", "os-release"), []byte("ID=test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := h.client.Clone(ctx, "a", "b", images.CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := h.client.Clone(ctx, "a", "b", images.CloneOptions{}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("clone over an image: %#v", err)
	}
	if err := h.client.Rename(ctx, "b", "c"); err != nil {
		t.Error(err)
	}
	i, err := h.client.Image(ctx, "c")
	if err != nil || i.Type != images.TypeDirectory && i.Type != images.TypeSubvolume || !slices.Equal(i.OSRelease, []string{"ID=test"}) {
		t.Errorf("image %+v, %v", i, err)
	}
	if err := h.client.Remove(ctx, "c"); err != nil {
		t.Error(err)
	}
	if _, err := h.client.Image(ctx, "c"); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("after its removal: %v", err)
	}
	if err := h.client.Remove(ctx, "c"); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("second removal: %v", err)
	}
	if err := h.client.Clone(ctx, "a", ".hidden", images.CloneOptions{}); err != nil {
		t.Error(err)
	}
	removed, err := h.client.Clean(ctx, false)
	if err != nil || len(removed) != 1 || removed[0].Name != ".hidden" {
		t.Errorf("cleaned %v, %v", removed, err)
	}
	if removed, err := h.client.Clean(ctx, false); err != nil || len(removed) > 0 {
		t.Errorf("cleaned again %v, %v", removed, err)
	}
	if list, err := h.client.Images(ctx); err != nil || len(list) != 1 || list[0].Name != "a" {
		t.Errorf("images %v, %v", list, err)
	}
}

// The exit status of a command and its three streams are its own.
func TestExecOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	in, inWrite := pipe(t)
	outRead, out := pipe(t)
	errRead, errWrite := pipe(t)
	if _, err := io.WriteString(inWrite, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := inWrite.Close(); err != nil {
		t.Fatal(err)
	}
	status, err := h.client.Exec(t.Context(), machined.HostName, machineapi.Command{
		Argv: []string{"sh", "-c", "cat; echo $FOO >&2; exit 7"}, Env: []string{"FOO=bar"},
	}, in, out, errWrite)
	if err != nil || status != 7 {
		t.Errorf("status %d, %v", status, err)
	}
	if err := errors.Join(out.Close(), errWrite.Close()); err != nil {
		t.Fatal(err)
	}
	stdout, _ := io.ReadAll(outRead)
	stderr, _ := io.ReadAll(errRead)
	if string(stdout) != "hello" || string(stderr) != "bar\n" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	if _, err := h.client.Exec(t.Context(), machined.HostName, machineapi.Command{Argv: []string{"/no/such/program"}}, in, in, in); err == nil {
		t.Error("a program that is not there was run")
	}
	if _, err := h.client.Exec(t.Context(), "none", machineapi.Command{Argv: []string{"true"}}, in, in, in); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("a machine that is not there: %v", err)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close() // closed by the test already, mostly
		_ = w.Close()
	})
	return r, w
}

type nobody struct{}

func (nobody) Check(context.Context, polkit.Subject, string, map[string]string, bool) error {
	return polkit.ErrDenied
}

func TestDeniedOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, nobody{})
	if err := os.MkdirAll(filepath.Join(h.pool, "foo"), 0o755); err != nil {
		t.Fatal(err)
	}
	for method, in := range map[string]map[string]any{
		"io.systemd.Machine.Register":          {"name": "foo", "class": "container", "leader": h.leader()},
		"io.systemd.Machine.List":              {"name": ".host", "acquireMetadata": "yes"},
		"io.systemd.Machine.Terminate":         {"name": ".host"},
		"io.systemd.Machine.Kill":              {"name": ".host", "signal": 1},
		"io.systemd.MachineImage.Remove":       {"name": "foo"},
		"io.systemd.MachineImage.Clone":        {"name": "foo", "newName": "bar"},
		"io.systemd.MachineImage.Update":       {"name": "foo"},
		"io.systemd.MachineImage.List":         {"name": "foo", "acquireMetadata": "graceful"},
		"io.systemd.MachineImage.SetPoolLimit": {"limit": 1},
		"io.systemd.MachineImage.CleanPool":    {"mode": "all"},
		"io.berth.Machine.Start":               {"name": "foo"},
		"io.berth.Machine.CloneImage":          {"name": "foo", "newName": "bar"},
	} {
		_, err := h.raw.Call(t.Context(), method, in, nil)
		if !errors.Is(err, varlink.PermissionDenied()) && !errors.Is(err, varlink.ExpectedMore()) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := h.client.Exec(t.Context(), machined.HostName, machineapi.Command{Argv: []string{"true"}}, os.Stdin, os.Stdin, os.Stdin); err == nil {
		t.Error("a program was run")
	}
}

// Everything that the description promises is served.
func TestEverythingIsServed(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	if got := h.server.Unimplemented(); len(got) > 0 {
		t.Errorf("without handlers: %q", got)
	}
}

// What a machine does not have is told by its own name, and left out by who is
// graceful.
func TestMetadataOfMachines(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	for name, class := range map[string]string{"shared": "container", "vm": "vm"} {
		if err := h.register(map[string]any{"name": name, "class": class, "leader": h.leader()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ in, want string }{
		{`{"name":"shared","acquireMetadata":"yes"}`, "io.systemd.Machine.NoPrivateNetworking"},
		{`{"name":"vm","acquireMetadata":"yes"}`, "io.systemd.Machine.NotAvailable"},
		{`{"name":"none","acquireMetadata":"yes"}`, "io.systemd.Machine.NoSuchMachine"},
	} {
		if got := outcome(t, h.raw, "io.systemd.Machine.List", c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
	for _, c := range []struct {
		name, acquire  string
		release, shift bool
	}{
		{"shared", "no", false, false},
		{"shared", "graceful", true, true},
		{"vm", "graceful", false, false},
		{machined.HostName, "no", false, false},
		{machined.HostName, "yes", true, true},
	} {
		var m machineapi.Machine
		in := map[string]string{"name": c.name, "acquireMetadata": c.acquire}
		if _, err := h.raw.Call(t.Context(), "io.systemd.Machine.List", in, &m); err != nil {
			t.Errorf("%v: %v", in, err)
		}
		if (len(m.OSRelease) > 0) != c.release || (m.UIDShift != nil) != c.shift {
			t.Errorf("%v: release %q, shift %v", in, m.OSRelease, m.UIDShift)
		}
	}
}

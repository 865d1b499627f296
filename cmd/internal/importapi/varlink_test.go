package importapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"
)

// serveVarlink runs importd behind a Varlink socket of the test's own.
func serveVarlink(t *testing.T, auth importapi.Authorizer) (string, *importd.Manager) {
	t.Helper()
	service := newService(t, auth)
	server := varlink.NewServer(varlink.Info{Vendor: "test"}, varlink.Options{AcceptFDs: true, CheckReplies: true})
	if err := service.Varlink(server); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "socket")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path, service.Manager
}

func dialVarlink(t *testing.T, path string) (*importapi.Client, *varlink.Client) {
	t.Helper()
	c, err := importapi.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := varlink.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), raw.Close()); err != nil {
			t.Error(err)
		}
	})
	return c, raw
}

// newService makes importd with directories of its own.
func newService(t *testing.T, auth importapi.Authorizer) *importapi.Service {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes files of other users")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-importapi-")
	if err != nil {
		t.Fatal(err)
	}
	locations := images.SystemLocations(dir)
	locations.Host = false
	s := &importapi.Service{
		Manager: importd.New(t.Context(), importd.Config{
			Locations: locations, UserAgent: "berth-test", NoSync: true, Logger: slog.New(slog.DiscardHandler),
		}),
		Images: images.NewStore(locations), Auth: auth,
	}
	t.Cleanup(func() {
		s.Manager.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

var everybody = polkit.Local{Group: polkit.NoGroup}

func TestPullOverVarlink(t *testing.T) {
	path, _ := serveVarlink(t, everybody)
	client, raw := dialVarlink(t, path)
	server := faultserver.Start(t)
	server.Set("/a.tar", faultserver.Answer{Body: tree(t)})
	parameters := importapi.PullParameters{
		Remote: server.URL("/a.tar"), Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo,
	}
	var id uint32
	var logs int
	for u, err := range client.Pull(t.Context(), parameters) {
		if err != nil {
			t.Fatal(err)
		}
		if id == 0 {
			id = u.ID
		}
		if u.Log != nil {
			logs++
		}
	}
	if id == 0 || logs == 0 {
		t.Errorf("id %d, %d messages", id, logs)
	}
	list, err := client.ListImages(t.Context(), images.ClassMachine)
	if err != nil || len(list) != 1 || list[0].Name != "a" || list[0].Type != images.TypeDirectory {
		t.Errorf("images %+v, %v", list, err)
	}
	for _, err := range client.Pull(t.Context(), parameters) {
		var failure *importd.Failure
		if err != nil && (!errors.As(err, &failure) || failure.Errno == 0) {
			t.Errorf("pull of what exists: %v", err)
		}
	}
	_, err = raw.Call(t.Context(), "io.systemd.Import.ListTransfers", nil, nil)
	if !errors.Is(err, varlink.ExpectedMore()) {
		t.Errorf("ListTransfers without more: %v", err)
	}
	if transfers, err := client.ListTransfers(t.Context(), ""); err != nil || len(transfers) != 0 {
		t.Errorf("transfers %v, %v", transfers, err)
	}
}

// The original ends a pull when its client did not ask for more.
func TestPullWithoutMoreGoesOn(t *testing.T) {
	path, manager := serveVarlink(t, everybody)
	_, raw := dialVarlink(t, path)
	server := faultserver.Start(t)
	server.Set("/a.tar", faultserver.Answer{Body: tree(t)})
	events := manager.Subscribe()
	defer events.Close()
	var started importapi.Update
	_, err := raw.Call(t.Context(), "io.systemd.Import.Pull", importapi.PullParameters{
		Remote: server.URL("/a.tar"), Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo,
	}, &started)
	if err != nil || started.ID == 0 {
		t.Fatalf("started %+v, %v", started, err)
	}
	for {
		e, err := events.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == importd.EventRemoved {
			if e.Err != nil {
				t.Error(e.Err)
			}
			return
		}
	}
}

func TestErrorsOverVarlink(t *testing.T) {
	path, _ := serveVarlink(t, everybody)
	client, raw := dialVarlink(t, path)
	server := faultserver.Start(t)
	server.Set("/stall.tar", faultserver.Answer{Body: tree(t), Fault: faultserver.Stall, At: 100})
	stalled := importapi.PullParameters{
		Remote: server.URL("/stall.tar"), Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo,
	}
	var started importapi.Update
	if _, err := raw.Call(t.Context(), "io.systemd.Import.Pull", stalled, &started); err != nil {
		t.Fatal(err)
	}
	_, err := raw.Call(t.Context(), "io.systemd.Import.Pull", stalled, nil)
	if !errors.Is(err, &varlink.Error{Name: "io.systemd.Import.AlreadyInProgress"}) {
		t.Errorf("second pull: %v", err)
	}
	if list, err := client.ListTransfers(t.Context(), images.ClassMachine); err != nil || len(list) != 1 || list[0].Type != "pull_tar" {
		t.Errorf("transfers %+v, %v", list, err)
	}
	if err := client.Cancel(t.Context(), started.ID); err != nil {
		t.Error(err)
	}
	if err := client.Cancel(t.Context(), 4711); !errors.Is(err, importd.ErrNoSuchTransfer) {
		t.Errorf("cancel of nothing: %v", err)
	}
	bad := stalled
	bad.Local = "../x"
	_, err = raw.Call(t.Context(), "io.systemd.Import.Pull", bad, nil)
	if !errors.Is(err, varlink.InvalidParameter("local")) {
		t.Errorf("bad name: %v", err)
	}
	for _, err := range client.Pull(t.Context(), bad) {
		var invalid *importd.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "local" {
			t.Errorf("bad name: %v", err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, err := range client.Import(t.Context(), importapi.ImportParameters{
		Local: "x", Type: importapi.FormRaw, Class: images.ClassMachine,
	}, null) {
		var invalid *importd.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "fileDescriptor" {
			t.Errorf("import of a device: %v", err)
		}
	}
}

// nobody refuses everything.
type nobody struct{}

func (nobody) Check(context.Context, polkit.Subject, string, map[string]string, bool) error {
	return polkit.ErrDenied
}

func TestDeniedOverVarlink(t *testing.T) {
	path, manager := serveVarlink(t, nobody{})
	_, raw := dialVarlink(t, path)
	for method, in := range map[string]any{
		"io.systemd.Import.Pull": importapi.PullParameters{Remote: "http://127.0.0.1:1/a.tar", Type: importapi.FormTar, Class: images.ClassMachine},
		"io.berth.Import.Import": importapi.ImportParameters{Local: "x", Type: importapi.FormTar, Class: images.ClassMachine},
		"io.berth.Import.Export": importapi.ExportParameters{Local: "x", Type: importapi.FormTar, Class: images.ClassMachine},
		"io.berth.Import.Cancel": map[string]int{"id": 1},
	} {
		if _, err := raw.Call(t.Context(), method, in, nil); !errors.Is(err, varlink.PermissionDenied()) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if list := manager.List(); len(list) > 0 {
		t.Errorf("something runs: %v", list)
	}
}

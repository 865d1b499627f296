package importapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
	path, service := serveVarlinkWith(t, auth)
	return path, service.Manager
}

func serveVarlinkWith(t *testing.T, auth importapi.Authorizer) (string, *importapi.Service) {
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
	return path, service
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

// A pull of what is being pulled joins it, another one of that URL waits for it,
// over both interfaces.
func TestPullsOfOneURLOverVarlink(t *testing.T) {
	path, manager := serveVarlink(t, everybody)
	first, raw := dialVarlink(t, path)
	second, other := dialVarlink(t, path)
	gate, archive := make(chan struct{}), tree(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/a.tar" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		_, err := w.Write(archive[:512])
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		if _, rest := w.Write(archive[512:]); errors.Join(err, rest) != nil {
			t.Error(err, rest)
		}
	}))
	defer server.Close()
	in := importapi.PullParameters{Remote: server.URL + "/a.tar", Local: "a", Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo}
	var group sync.WaitGroup
	defer group.Wait()
	// pull follows a pull; ids gets its number.
	pull := func(c *importapi.Client, in importapi.PullParameters, said string) (ids chan uint32) {
		ids = make(chan uint32, 1)
		group.Go(func() {
			var text strings.Builder
			for u, err := range c.Pull(t.Context(), in) {
				switch {
				case err != nil:
					t.Error(err)
				case u.ID != 0:
					ids <- u.ID
				case u.Log != nil:
					text.WriteString(u.Log.Message)
				}
			}
			if !strings.Contains(text.String(), said) {
				t.Errorf("pull as %q said %q, not %q", in.Local, &text, said)
			}
		})
		return ids
	}
	begun := <-pull(first, in, "Pulling")
	joined := <-pull(second, in, "The same is being pulled already, as transfer 1.")
	in.Local = "b"
	third, err := importapi.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := third.Close(); err != nil {
			t.Error(err)
		}
	})
	waits := <-pull(third, in, "Waiting for transfer 1, which pulls the same URL.")
	if begun != 1 || joined != begun || waits != 2 {
		t.Errorf("transfers %d, %d and %d", begun, joined, waits)
	}
	var same importapi.Update
	if _, err := raw.Call(t.Context(), "io.systemd.Import.Pull", in, &same); err != nil || same.ID != waits {
		t.Errorf("a pull that goes on alone: %+v, %v", same, err)
	}
	in.Local = "c"
	var canceled importapi.Update
	_, err = other.Call(t.Context(), "io.systemd.Import.Pull", in, &canceled)
	if _, stopped := other.Call(t.Context(), "io.berth.Import.Cancel", map[string]uint32{"id": canceled.ID}, nil); err != nil || stopped != nil {
		t.Errorf("one that is canceled: %v, %v", err, stopped)
	}
	if list := manager.List(); len(list) != 2 {
		t.Errorf("transfers %+v", list)
	}
	close(gate)
}

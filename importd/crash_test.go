package importd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"
)

// daemonVariable makes the test binary a small daemon below the given directory:
// it carries out one request, a JSON argument whose file is descriptor 3, and says
// when it is half way.
const daemonVariable = "BERTH_TEST_DAEMON"

func smallDaemon(dir string) error {
	m := importd.New(context.Background(), importd.Config{
		Locations: images.SystemLocations(dir), NoSync: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	events := m.Subscribe()
	var r importd.Request
	if err := json.Unmarshal([]byte(os.Args[1]), &r); err != nil {
		return err
	}
	if !r.Kind.Pull() {
		r.File = os.NewFile(3, "file")
	}
	if _, err := m.Start(r); err != nil {
		return err
	}
	for {
		e, err := events.Next(context.Background())
		switch {
		case err != nil:
			return err
		case e.Kind == importd.EventProgress && e.Transfer.Progress > 0.4:
			fmt.Println("half way")
		case e.Kind == importd.EventRemoved:
			m.Close()
			return e.Err
		}
	}
}

// daemonFor returns a daemon that is not started yet, over the host's
// directories.
func (h *host) daemonFor(r importd.Request) *exec.Cmd {
	h.t.Helper()
	r.Class = images.ClassMachine
	text, err := json.Marshal(r)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), "/proc/self/exe", string(text))
	cmd.Env = append(os.Environ(), daemonVariable+"="+strings.TrimSuffix(h.root, "/var/lib/machines"))
	cmd.Stderr = os.Stderr
	if r.File != nil {
		cmd.ExtraFiles = []*os.File{r.File}
	}
	return cmd
}

// The daemon dies in the middle of a pull: its worker cleans up and ends, and
// the pull of the next daemon fetches only the rest.
func TestDaemonIsKilled(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t, noise(8<<20))
	half := int64(len(archive) / 2)
	server.Set("/foo.tar",
		faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn, Fault: faultserver.Stall, At: half},
		faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn})

	cmd := h.daemonFor(pullTar(server.URL("/foo.tar")))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "half way\n" {
		t.Errorf("the daemon said %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the daemon was not killed")
	}
	server.Requests("/foo.tar") // returns when the worker has let go of its connection
	h.eventually("the worker to remove what it made", func() bool {
		return slices.IndexFunc(h.entries(), func(name string) bool {
			return !strings.HasPrefix(name, images.SpoolPrefix)
		}) < 0
	})
	if len(h.entries()) != 1 {
		t.Errorf("the image root has %q, want the spool", h.entries())
	}
	before := server.Sent("/foo.tar")
	if err := h.do(pullTar(server.URL("/foo.tar"))); err != nil {
		t.Fatal(err)
	}
	if rest := server.Sent("/foo.tar") - before; rest > int64(len(archive))-half+1<<20 {
		t.Errorf("the second pull fetched %d of %d bytes", rest, len(archive))
	}
	if got := h.entries(); !slices.Equal(got, []string{"foo"}) {
		t.Errorf("the image root has %q", got)
	}
}

// The daemon and its worker die at once: the next daemon sweeps.
func TestEverythingIsKilled(t *testing.T) {
	h := newHost(t)
	pending, err := images.NewPendingTree(h.prepared())
	if err != nil {
		t.Fatal(err)
	}
	dead := leftover(t, h.root)
	other := importd.New(t.Context(), h.config)
	defer other.Close()
	for _, name := range h.entries() {
		if name == dead {
			t.Errorf("%s was not swept", name)
		}
	}
	if _, err := os.Stat(pending.Path()); err != nil {
		t.Errorf("the pending image of a living process was swept: %v", err)
	}
	if err := pending.Discard(); err != nil {
		t.Error(err)
	}
}

// prepared makes the image root.
func (h *host) prepared() string {
	h.t.Helper()
	if err := os.MkdirAll(h.root, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return h.root
}

// leftover makes an entry as a dead worker leaves it.
func leftover(t *testing.T, root string) string {
	t.Helper()
	const name = ".#tar0123456789abcdef"
	if err := os.Mkdir(root+"/"+name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// eventually waits for a condition that another process brings about.
func (h *host) eventually(what string, reached func() bool) {
	h.t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !reached(); {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("waited in vain for %s; the image root has %q", what, h.entries())
		}
	}
}

package varlink_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/cmd/internal/varlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const probeDescription = `interface org.example.probe
type Colour (red, green)
type Anything (a: int)
type Point (x: int, y: ?int, next: ?Point)
method Echo(text: string, n: ?int, ratio: ?float, colour: ?Colour, point: ?Point, list: ?[]string,
  table: ?[string]int, free: ?object, anything: ?Anything, whatever: ?any, flag: ?bool) -> (text: string)
method Lax(text: string) -> (text: string)
method Fail(how: string) -> ()
method Count(to: int) -> (n: int)
method Block() -> ()
method Note() -> ()
method Files(n: ?int) -> (content: []string)
method Open(n: int) -> ()
method Quiet() -> ()
method Flood(size: int) -> (data: string)
method Missing() -> ()
method Whoami() -> (uid: int, pid: int, pidfd: bool)
error Nothing()
error Odd(why: string)
`

// probe is a service with one method for each thing that a server can do.
type probe struct {
	entered chan struct{} // a call of Block has begun
	ended   chan error    // why its context ended
	floods  chan error    // how a call of Flood ended
}

func newProbe() *probe {
	return &probe{entered: make(chan struct{}, 100), ended: make(chan error, 100), floods: make(chan error, 100)}
}

func (p *probe) handlers() map[string]varlink.Handler {
	return map[string]varlink.Handler{
		"Echo": p.echo, "Lax": p.echo, "Fail": p.fail, "Count": p.count, "Block": p.block, "Note": p.note,
		"Files": p.files, "Open": p.open, "Flood": p.flood, "Whoami": p.whoami,
		"Quiet": func(context.Context, *varlink.Call) error { return nil },
	}
}

func start(t *testing.T, opts varlink.Options) (*probe, *varlink.Server, string) {
	t.Helper()
	p := newProbe()
	s := varlink.NewServer(varlink.Info{Vendor: "V", Product: "P", Version: "1", URL: "https://example.org"}, opts)
	err := s.Handle(probeDescription, p.handlers(), varlink.LooseTypes("Anything"), varlink.IgnoreUnknown("Lax"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.HandleControl(varlink.Control{
		SetLogLevel: func(int) {}, LogLevel: func() int { return 6 }, Environ: func() []string { return []string{"A=b"} },
	}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "socket")
	serve(t, s, path)
	return p, s, path
}

func serve(t *testing.T, s *varlink.Server, path string) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, s, l)
}

func serveOn(t *testing.T, s *varlink.Server, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections after Serve", n)
		}
	})
}

func dial(t *testing.T, path string) *varlink.Client {
	t.Helper()
	c, err := varlink.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dialRaw(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

// expectClosed fails unless the server ends the connection without a word.
func expectClosed(t *testing.T, c *net.UnixConn) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if len(rest) > 0 {
		t.Errorf("got %q where the connection should end", rest)
	}
	var timeout net.Error
	if err != nil && errorsAs(err, &timeout) && timeout.Timeout() {
		t.Error("the connection does not end")
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

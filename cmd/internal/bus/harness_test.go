package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"berth/cmd/internal/bus"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "org.example.Probe"
	root    = dbus.ObjectPath("/org/example/probe")
	things  = root + "/thing"
	iface   = "org.example.Probe.Manager"
	thingIf = "org.example.Probe.Thing"
)

// probe serves one method for each thing that the package does.
type probe struct {
	service *bus.Service
	entered chan struct{}
	ended   chan error
	mu      sync.Mutex
	labels  []string
	level   int
}

func (p *probe) setLabels(labels ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.labels = labels
}

func (p *probe) List(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.labels), nil
}

func (p *probe) Lookup(ctx context.Context, call *bus.Call, label string) (*bus.Object, error) {
	if label == "self" {
		label = fmt.Sprint(call.Caller().UID)
	} else if labels, _ := p.List(ctx); !slices.Contains(labels, label) {
		return nil, nil
	}
	return &bus.Object{Interfaces: []*bus.Interface{transferLike(label)}}, nil
}

// transferLike declares org.freedesktop.import1.Transfer.
func transferLike(label string) *bus.Interface {
	text := func(context.Context) (any, error) { return label, nil }
	return &bus.Interface{
		Name: thingIf,
		Properties: []bus.Property{
			{Name: "Id", Type: "u", Emits: bus.EmitsConst, Get: func(context.Context) (any, error) { return uint32(7), nil }},
			{Name: "Local", Type: "s", Emits: bus.EmitsConst, Get: text},
			{Name: "Remote", Type: "s", Emits: bus.EmitsConst, Get: text},
			{Name: "Type", Type: "s", Emits: bus.EmitsConst, Get: text},
			{Name: "Verify", Type: "s", Emits: bus.EmitsConst, Get: text},
			{Name: "Progress", Type: "d", Emits: bus.EmitsFalse, Get: func(context.Context) (any, error) { return 0.5, nil }},
		},
		Methods: []bus.Method{{Name: "Cancel", Func: func(context.Context, *bus.Call) error { return nil }}},
		Signals: []bus.Signal{
			{Name: "LogMessage", Args: bus.Args("priority u, line s")},
			{Name: "ProgressUpdate", Args: bus.Args("progress d")},
		},
	}
}

type pair struct {
	Name  string
	Value dbus.Variant
}

func (p *probe) manager() *bus.Interface {
	return &bus.Interface{Name: iface, Methods: []bus.Method{
		{
			Name: "Join", In: bus.Args("words as, number u, pairs a(sv)"), Out: bus.Args("text s, count i"),
			Func: func(_ context.Context, _ *bus.Call, words []string, n uint32, pairs []pair) (string, int32, error) {
				return fmt.Sprint(words, n, len(pairs)), int32(len(words)), nil
			},
		},
		{Name: "Fail", In: bus.Args("how s"), Func: p.fail},
		{Name: "Block", Func: p.block},
		{Name: "Whoami", Out: bus.Args("uid u, pid u, pidfd b, interactive b"), Func: whoami},
		{Name: "Read", In: bus.Args("fd h, keep b"), Out: bus.Args("s"), Func: read},
		{Name: "Open", Out: bus.Args("fd h, path s"), Func: open},
		{Name: "Announce", In: bus.Args("n u"), Func: p.announce},
		{Name: "Later"},
	}, Signals: []bus.Signal{{Name: "Said", Args: bus.Args("n u")}}}
}

func (p *probe) fail(_ context.Context, _ *bus.Call, how string) error {
	switch how {
	case "named":
		return fmt.Errorf("wrapped: %w", &bus.Error{Name: "org.example.Odd", Err: errors.New("odd")})
	case "EROFS":
		return fmt.Errorf("remove image: %w", syscall.EROFS)
	case "ENOENT":
		return fmt.Errorf("find image: %w", os.ErrNotExist)
	case "errno":
		return syscall.EEXIST
	}
	return errors.New(how)
}

func (p *probe) block(ctx context.Context, _ *bus.Call) error {
	p.entered <- struct{}{}
	<-ctx.Done()
	p.ended <- context.Cause(ctx)
	return ctx.Err()
}

func whoami(_ context.Context, call *bus.Call) (uid, pid uint32, pidfd, interactive bool, err error) {
	c := call.Caller()
	return c.UID, uint32(c.PID), c.PIDFD != nil, call.Interactive(), nil
}

func read(_ context.Context, call *bus.Call, f *os.File, keep bool) (string, error) {
	if keep {
		call.Keep(f)
		defer func() { _ = f.Close() }()
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

func open(context.Context, *bus.Call) (*os.File, string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	fmt.Fprint(w, "hello")
	return r, "/some/path", w.Close()
}

// announce sends signals before its reply, and one after it.
func (p *probe) announce(_ context.Context, call *bus.Call, n uint32) error {
	call.AfterReply(func() { p.service.Emit(root, iface+".Said", n) })
	for i := range n {
		p.service.Emit(root, iface+".Said", i)
	}
	return nil
}

func newProbe(address string) *probe {
	p := &probe{entered: make(chan struct{}, 10), ended: make(chan error, 10), level: 6}
	tree := new(bus.Tree)
	tree.Add(root, &bus.Object{Interfaces: []*bus.Interface{p.manager()}})
	tree.AddDirectory(things, p)
	tree.Add(bus.LogControlPath, bus.LogControl{
		Priority: func() int { return p.level }, SetPriority: func(n int) { p.level = n },
		Target: "journal", Identifier: "probe",
	}.Object())
	p.service = bus.New(bus.Config{Address: address, Name: name, Tree: tree})
	return p
}

// run serves until the returned function is called, or the test ends.
func (p *probe) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (p *probe) awaitConnected(t *testing.T) {
	t.Helper()
	await.Until(t, limit, "a connection", func() bool { return p.service.Conn() != nil })
}

// start runs a bus and a probe on it, and gives a client's connection.
func start(t *testing.T) (*probe, string, *dbus.Conn) {
	t.Helper()
	address := privatebus.Start(t)
	p := newProbe(address)
	p.run(t)
	p.awaitConnected(t)
	return p, address, connect(t, address)
}

func connect(t *testing.T, address string) *dbus.Conn {
	t.Helper()
	c, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func busctl(t *testing.T, address string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("busctl")
	if err != nil {
		t.Skip("needs busctl")
	}
	out, err := exec.CommandContext(t.Context(), program, append([]string{"--address=" + address, "--no-pager"}, args...)...).CombinedOutput()
	if err != nil {
		out = append(out, err.Error()...)
	}
	return strings.TrimRight(string(out), "\n")
}

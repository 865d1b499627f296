package busguard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"berth/fixtures/await"
	"berth/fixtures/privatebus"
	"berth/machined/busguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name  = "org.example.Guarded"
	path  = dbus.ObjectPath("/org/example")
	iface = "org.example.Guarded"
)

// guarded is a connection through a guard.
type guarded struct {
	*dbus.Conn
	guard *busguard.Guard
	log   *lines
}

func dial(t *testing.T, address string, options busguard.Options, more ...dbus.ConnOption) *guarded {
	t.Helper()
	log := new(lines)
	options.Logger = slog.New(slog.NewTextHandler(log, nil))
	guard, err := busguard.Dial(t.Context(), address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guard.Close)
	conn, err := dbus.ConnectUnix(guard.Conn(), more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &guarded{conn, guard, log}
}

func connect(t *testing.T, address string) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// service is what is exported behind a guard.
type service struct{ seen chan uint32 }

// Echo gives a text back.
func (service) Echo(s string) (string, *dbus.Error) { return s, nil }

// Note notes a number.
func (s service) Note(n uint32) *dbus.Error {
	s.seen <- n
	return nil
}

// Copy reads one file, and gives another one with what was in it.
func (service) Copy(fd dbus.UnixFD) (dbus.UnixFD, *dbus.Error) {
	f := os.NewFile(uintptr(fd), "argument")
	text, err := io.ReadAll(f)
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	_ = f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	_, _ = w.Write(bytes.ToUpper(text))
	_ = w.Close()
	// The library sends a copy, and leaves this one to us: the test keeps it.
	reply := dbus.UnixFD(r.Fd())
	sent.Store(reply, r)
	return reply, nil
}

var sent sync.Map

func closeSent() {
	sent.Range(func(fd, f any) bool {
		_ = f.(*os.File).Close()
		sent.Delete(fd)
		return true
	})
}

func serve(t *testing.T, conn *dbus.Conn) service {
	t.Helper()
	s := service{make(chan uint32, 10000)}
	if err := conn.Export(s, path, iface); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return s
}

func pipeWith(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDescriptorsGoBothWays(t *testing.T) {
	address := privatebus.Start(t)
	conn := dial(t, address, busguard.Options{Descriptors: true})
	serve(t, conn.Conn)
	client := dial(t, address, busguard.Options{Descriptors: true})
	before := openFDs(t)
	const rounds = 100
	var wg sync.WaitGroup
	for i := range rounds {
		wg.Go(func() {
			text := fmt.Sprint("text ", i)
			in := pipeWith(t, text)
			defer in.Close() //nolint:errcheck // of a test
			var out dbus.UnixFD
			if err := client.Object(name, path).Call(iface+".Copy", 0, dbus.UnixFD(in.Fd())).Store(&out); err != nil {
				t.Error(err)
				return
			}
			f := os.NewFile(uintptr(out), "reply")
			defer f.Close() //nolint:errcheck // of a test
			if got, err := io.ReadAll(f); string(got) != strings.ToUpper(text) || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	await.Until(t, time.Minute, "closed descriptors", func() bool {
		closeSent()
		return openFDs(t) <= before
	})
}

func TestLongMessages(t *testing.T) {
	address := privatebus.Start(t)
	serve(t, dial(t, address, busguard.Options{}).Conn)
	client := dial(t, address, busguard.Options{})
	for _, n := range []int{0, 1, 65535, 65536, 65537, 200_000, 1<<20 - 500} {
		want := strings.Repeat("abc", n/3+1)[:n]
		var got string
		if err := client.Object(name, path).Call(iface+".Echo", 0, want).Store(&got); err != nil || got != want {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
	err := client.Object(name, path).Call(iface+".Echo", 0, strings.Repeat("x", 2<<20)).Err
	if got := errorName(err); got != "org.freedesktop.DBus.Error.LimitsExceeded" {
		t.Errorf("a call of 2 MiB: %v", err)
	}
	// One whose own side takes short replies only is told, too.
	frugal := dial(t, address, busguard.Options{MaxReply: 4096})
	err = frugal.Object(name, path).Call(iface+".Echo", 0, strings.Repeat("x", 8192)).Err
	if got := errorName(err); got != "org.freedesktop.DBus.Error.LimitsExceeded" {
		t.Errorf("a reply of 8 KiB: %v", err)
	}
	if err := frugal.Object(name, path).Call(iface+".Echo", 0, strings.Repeat("x", 1024)).Err; err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Messages of every kind come in the order in which they were sent.
func TestOrder(t *testing.T) {
	address := privatebus.Start(t)
	numbers := make(chan uint32, 5000)
	conn := dial(t, address, busguard.Options{Descriptors: true},
		dbus.WithIncomingInterceptor(func(m *dbus.Message) {
			if m.Type == dbus.TypeMethodCall {
				numbers <- m.Body[0].(uint32)
				if len(m.Body) > 1 {
					_ = os.NewFile(uintptr(m.Body[1].(dbus.UnixFD)), "argument").Close()
				}
			}
		}))
	if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	client := dial(t, address, busguard.Options{})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // of a test
	const n = 3000
	for i := range uint32(n) {
		args := []any{i}
		if i%3 == 0 {
			args = append(args, dbus.UnixFD(null.Fd()))
		}
		client.Object(name, path).Go(iface+".Any", dbus.FlagNoReplyExpected, nil, args...)
	}
	for i := range uint32(n) {
		if got := <-numbers; got != i {
			t.Fatalf("message %d came in place of %d", got, i)
		}
	}
}

func TestRefusalIsLoggedOnce(t *testing.T) {
	address := privatebus.Start(t)
	conn := dial(t, address, busguard.Options{})
	serve(t, conn.Conn)
	client := connect(t, address)
	null := pipeWith(t, "")
	defer null.Close() //nolint:errcheck // of a test
	for range 10 {
		err := client.Object(name, path).Call(iface+".Copy", 0, dbus.UnixFD(null.Fd())).Err
		if got := errorName(err); got != "org.freedesktop.DBus.Error.NotSupported" {
			t.Errorf("a guard without descriptors says %v", err)
		}
	}
	if got := strings.Count(conn.log.String(), "refused a message"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, conn.log)
	}
}

// The end of the bus is that of the connection, and the other way round.
func TestEnds(t *testing.T) {
	before := openFDs(t)
	socket := t.TempDir() + "/bus"
	stop := privatebus.Run(t, socket)
	conn := dial(t, "unix:path="+socket, busguard.Options{})
	other := connect(t, "unix:path="+socket)
	gone := dial(t, "unix:path="+socket, busguard.Options{})
	unique := gone.Names()[0]
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the bus to notice", func() bool {
		var there bool
		err := other.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, unique).Store(&there)
		return err == nil && !there
	})
	stop()
	<-conn.Context().Done()
	conn.guard.Close()
	gone.guard.Close()
	<-other.Context().Done()
	await.Until(t, time.Minute, "closed descriptors", func() bool { return openFDs(t) <= before })
}

// What was sent before the end goes out.
func TestCloseFlushes(t *testing.T) {
	address := privatebus.Start(t)
	s := serve(t, connect(t, address))
	const rounds, each = 20, 50
	for range rounds {
		conn := dial(t, address, busguard.Options{})
		for i := range uint32(each) {
			conn.Object(name, path).Go(iface+".Note", dbus.FlagNoReplyExpected, nil, i)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		conn.guard.Close()
	}
	for range rounds * each {
		select {
		case <-s.seen:
		case <-time.After(20 * time.Second):
			t.Fatal("a message is missing")
		}
	}
}

func TestDialFails(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/no/such%20file": "no such file", "tcp:host=x,port=1": "no local socket", "": "no local socket",
		"unix:abstract=no-such-bus;unix:path=/nor/this": "connection refused",
	} {
		if _, err := busguard.Dial(t.Context(), address, busguard.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}

func TestSecondAddress(t *testing.T) {
	l, err := net.Listen("unix", "@berth-busguard-test")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // of a test
	g, err := busguard.Dial(context.Background(), "unix:path=/no/such,guid=1;unix:abstract=berth-busguard-te%73t,guid=2", busguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Conn().Close(); err != nil {
		t.Fatal(err)
	}
	g.Close()
}

func errorName(err error) string {
	if e, ok := err.(dbus.Error); ok { //nolint:errorlint // the library gives it as it is
		return e.Name
	}
	return ""
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

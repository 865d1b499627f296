package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/cmd/internal/bus"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
)

func TestCalls(t *testing.T) {
	_, address, _ := start(t)
	for _, tt := range []struct{ args, want string }{
		{string(root) + " " + iface + " Join asua(sv) 2 a b 3 1 k s v", `si "[a b] 3 1" 2`},
		{string(root) + " " + iface + " Join s x", `Call failed: arguments have type "s", not "asua(sv)"`},
		{string(root) + " " + iface + " None", "Call failed: no method org.example.Probe.Manager.None at /org/example/probe"},
		{string(root) + " " + iface + " Later", "Call failed: method Later is not supported"},
		{string(root) + " org.example.None Join", "Call failed: no interface org.example.None at /org/example/probe"},
		{"/org/example/none " + iface + " Join", "Call failed: no object at /org/example/none"},
		{string(things) + "/none " + thingIf + " Cancel", "Call failed: no object at /org/example/probe/thing/none"},
		{string(root) + " org.freedesktop.DBus.Peer Ping", ""},
		{string(things) + "/self " + thingIf + " Cancel", ""},
	} {
		got := busctl(t, address, append([]string{"call", name}, strings.Fields(tt.args)...)...)
		if first, _, _ := strings.Cut(got, "exit status"); strings.TrimSpace(first) != tt.want {
			t.Errorf("call %s:\n%s\nwant %s", tt.args, got, tt.want)
		}
	}
}

func TestErrorNames(t *testing.T) {
	_, _, c := start(t)
	for _, tt := range []struct {
		path         dbus.ObjectPath
		method, arg  string
		name, detail string
	}{
		{root, iface + ".Fail", "named", "org.example.Odd", "wrapped: odd"},
		{root, iface + ".Fail", "EROFS", "System.Error.EROFS", "remove image: read-only file system"},
		{root, iface + ".Fail", "ENOENT", "org.freedesktop.DBus.Error.FileNotFound", "find image: file does not exist"},
		{root, iface + ".Fail", "errno", "org.freedesktop.DBus.Error.FileExists", "file exists"},
		{root, iface + ".Fail", "text", "org.freedesktop.DBus.Error.Failed", "text"},
		{root, "org.freedesktop.DBus.Properties.GetAll", "org.example.None", "org.freedesktop.DBus.Error.UnknownInterface", "no interface org.example.None"},
		{things + "/gone", "org.freedesktop.DBus.Properties.GetAll", "", "org.freedesktop.DBus.Error.UnknownObject", "no object at /org/example/probe/thing/gone"},
	} {
		err := c.Object(name, tt.path).Call(tt.method, 0, tt.arg).Err
		var e dbus.Error
		if !errors.As(err, &e) || e.Name != tt.name || e.Error() != tt.detail {
			t.Errorf("%s(%s): %v %v, want %s: %s", tt.method, tt.arg, e.Name, err, tt.name, tt.detail)
		}
	}
}

func TestErrnoName(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES: "org.freedesktop.DBus.Error.AccessDenied", syscall.ENOTTY: "System.Error.ENOTTY",
		syscall.Errno(9999): "org.freedesktop.DBus.Error.Failed",
	} {
		if got := bus.ErrnoName(errno); got != want {
			t.Errorf("%v: %s, want %s", errno, got, want)
		}
	}
}

func TestCallWithoutInterface(t *testing.T) {
	_, _, c := start(t)
	msg := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldPath: dbus.MakeVariant(root),
		dbus.FieldMember: dbus.MakeVariant("Whoami"),
	}, Flags: dbus.FlagAllowInteractiveAuthorization}
	call := <-c.Send(msg, make(chan *dbus.Call, 1)).Done
	var uid, pid uint32
	var pidfd, interactive bool
	if err := call.Store(&uid, &pid, &pidfd, &interactive); err != nil {
		t.Fatal(err)
	}
	if int(uid) != os.Getuid() || int(pid) != os.Getpid() || !pidfd || !interactive {
		t.Errorf("caller %d %d %v %v", uid, pid, pidfd, interactive)
	}
}

func TestFiles(t *testing.T) {
	_, address, c := start(t)
	o := c.Object(name, root)
	exchange := func(keep bool) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "hello")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var text, path string
		if err := o.Call(iface+".Read", 0, dbus.UnixFD(r.Fd()), keep).Store(&text); err != nil || text != "hello" {
			t.Errorf("file sent: %q, %v", text, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		var fd dbus.UnixFD
		if err := o.Call(iface+".Open", 0).Store(&fd, &path); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "received")
		if text, err := io.ReadAll(f); err != nil || string(text) != "hello" || path != "/some/path" {
			t.Errorf("file received: %q %s, %v", text, path, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	exchange(false)
	before := openFDs(t)
	for i := range 10 {
		exchange(i%2 == 0)
	}
	// Refused before the handler sees it.
	if err := o.Call(iface+".Read", 0, dbus.UnixFD(0)).Err; err == nil {
		t.Error("a call without its second argument succeeds")
	}
	await.Until(t, limit, "descriptors to be closed", func() bool { return openFDs(t) <= before })
	if got := busctl(t, address, "call", name, string(root), iface, "Open"); !strings.HasPrefix(got, "hs") {
		t.Errorf("busctl: %s", got)
	}
}

func TestSignalsAreInOrderWithReplies(t *testing.T) {
	_, _, c := start(t)
	if err := c.AddMatchSignal(dbus.WithMatchInterface(iface)); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 200)
	c.Signal(signals)
	call := c.Object(name, root).Call(iface+".Announce", 0, uint32(100))
	if call.Err != nil {
		t.Fatal(call.Err)
	}
	for i := range uint32(100) {
		s := <-signals
		if s.Name != iface+".Said" || s.Body[0] != i || s.Sequence >= call.ResponseSequence {
			t.Fatalf("signal %d: %+v, reply %d", i, s, call.ResponseSequence)
		}
	}
	if s := <-signals; s.Body[0] != uint32(100) || s.Sequence <= call.ResponseSequence {
		t.Errorf("last signal: %+v, reply %d", s, call.ResponseSequence)
	}
}

func TestCallEndsWhenTheCallerLeaves(t *testing.T) {
	p, address, _ := start(t)
	before := openFDs(t)
	c := connect(t, address)
	c.Object(name, root).Go(iface+".Block", 0, nil)
	<-p.entered
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err == nil || err.Error() != "caller left the bus" {
		t.Errorf("context ended with %v", err)
	}
	await.Until(t, limit, "descriptors to be closed", func() bool { return openFDs(t) <= before })
}

func TestRunEndsCalls(t *testing.T) {
	address := privatebus.Start(t)
	p := newProbe(address)
	stop := p.run(t)
	p.awaitConnected(t)
	connect(t, address).Object(name, root).Go(iface+".Block", 0, nil)
	<-p.entered
	stop()
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("context ended with %v", err)
	}
}

func TestBusComesLateAndGoesAndComesBack(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	p := newProbe("unix:path=" + socket)
	p.run(t)
	p.service.Emit(root, iface+".Said", uint32(1)) // to nobody
	for range 2 {
		stop := privatebus.Run(t, socket)
		p.awaitConnected(t)
		c := connect(t, "unix:path="+socket)
		if err := c.Object(name, root).Call(iface+".Whoami", 0).Err; err != nil {
			t.Error(err)
		}
		stop()
		await.Until(t, limit, "the loss to be noticed", func() bool { return p.service.Conn() == nil })
	}
}

func TestNameIsTaken(t *testing.T) {
	address := privatebus.Start(t)
	c := connect(t, address)
	if _, err := c.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	p := newProbe(address)
	p.run(t)
	if _, err := c.ReleaseName(name); err != nil {
		t.Fatal(err)
	}
	p.awaitConnected(t)
}

func TestCallsOfAnotherUser(t *testing.T) {
	_, address, _ := start(t)
	if os.Getuid() != 0 {
		t.Skip("needs root to call as another user")
	}
	socket := strings.TrimPrefix(address, "unix:path=")
	for dir := filepath.Dir(socket); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("busctl")
	if err != nil {
		t.Skip("needs busctl")
	}
	as := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--address=" + address}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)) + fmt.Sprint(err)
	}
	if got := as("call", name, string(root), iface, "Whoami"); !strings.HasPrefix(got, "uubb 65534 ") {
		t.Errorf("whoami: %s", got)
	}
	if got := as("set-property", name, string(bus.LogControlPath), "org.freedesktop.LogControl1", "LogLevel", "s", "debug"); !strings.Contains(got, "Access denied") {
		t.Errorf("set level: %s", got)
	}
}

// Who cannot have the name says who has it.
func TestWhoTookTheNameIsNamed(t *testing.T) {
	address := privatebus.Start(t)
	other := connect(t, address)
	if reply, err := other.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	s := bus.New(bus.Config{Address: address, Name: name, Logger: slog.New(slog.NewTextHandler(w, nil))})
	go func() { done <- s.Run(ctx) }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if want := fmt.Sprintf("process %d (bus.test)", os.Getpid()); err != nil || !strings.Contains(line, want) {
		t.Errorf("log %q, %v, want %q", line, err, want)
	}
	cancel()
	if err := errors.Join(r.Close(), <-done); err != nil {
		t.Error(err)
	}
}

package varlink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	peer "github.com/varlink/go/varlink"

	"berth/cmd/internal/varlink"
)

// The library of the Varlink project as client of our server.
func TestPeerAsClient(t *testing.T) {
	_, _, path := start(t, varlink.Options{AcceptFDs: true})
	c, err := peer.NewConnection(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var vendor, product, version, url string
	var interfaces []string
	if err := c.GetInfo(t.Context(), &vendor, &product, &version, &url, &interfaces); err != nil || vendor != "V" || len(interfaces) != 4 {
		t.Errorf("info %q %q, %v", vendor, interfaces, err)
	}
	if text, err := c.GetInterfaceDescription(t.Context(), "org.example.probe"); err != nil || text != probeDescription {
		t.Errorf("description %q, %v", text, err)
	}
	var bad *peer.InvalidParameter
	err = c.Call(t.Context(), "org.example.probe.Echo", map[string]int{"text": 1}, nil)
	if !errors.As(err, &bad) || bad.Parameter != "text" {
		t.Errorf("wrong parameter: %v", err)
	}
	receive, err := c.Send(t.Context(), "org.example.probe.Count", map[string]int{"to": 3}, peer.More)
	if err != nil {
		t.Fatal(err)
	}
	for want := 1; ; want++ {
		var out struct{ N int }
		flags, err := receive(t.Context(), &out)
		if err != nil || out.N != want {
			t.Fatalf("reply %d: %d, %v", want, out.N, err)
		}
		if flags&peer.Continues == 0 {
			break
		}
	}
	peerFiles(t, c)
}

func peerFiles(t *testing.T, c *peer.Connection) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "hello")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out struct{ Content []string }
	if _, err := c.CallWithFDs(t.Context(), "org.example.probe.Files", nil, &out, []*os.File{r}); err != nil || fmt.Sprint(out.Content) != "[hello]" {
		t.Errorf("files sent: %q, %v", out.Content, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	files, err := c.CallWithFDs(t.Context(), "org.example.probe.Open", map[string]int{"n": 2}, &struct{}{}, nil)
	if err != nil || len(files) != 2 {
		t.Fatalf("files received: %d, %v", len(files), err)
	}
	for i, f := range files {
		if text, err := io.ReadAll(f); err != nil || string(text) != fmt.Sprint(i) {
			t.Errorf("file %d says %q, %v", i, text, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// peerProbe serves a part of the probe's interface with their library.
type peerProbe struct{}

func (peerProbe) VarlinkGetName() string        { return "org.example.probe" }
func (peerProbe) VarlinkGetDescription() string { return probeDescription }

func (peerProbe) VarlinkDispatch(ctx context.Context, c peer.Call, method string) error {
	switch method {
	case "Count":
		for n := 1; n < 3; n++ {
			c.Continues = true
			if err := c.Reply(ctx, map[string]int{"n": n}); err != nil {
				return err
			}
		}
		c.Continues = false
		return c.Reply(ctx, map[string]int{"n": 3})
	case "Files":
		files := c.RequestFDs()
		err := c.ReplyWithFDs(ctx, map[string][]string{"content": {}}, files)
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	return c.ReplyError(ctx, "org.example.probe.Odd", map[string]string{"why": method})
}

// Our client against the library of the Varlink project.
func TestPeerAsServer(t *testing.T) {
	service, err := peer.NewService("V", "P", "1", "https://example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := service.RegisterInterface(peerProbe{}); err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/peer"
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if nc, err := l.Accept(); err == nil {
			service.ServeConn(context.Background(), nc)
		}
		_ = l.Close()
	})
	c, err := varlink.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n := 0
	for r, err := range c.CallMore(t.Context(), "org.example.probe.Count", map[string]int{"to": 3}) {
		if n++; err != nil || r.Continues != (n < 3) {
			t.Fatalf("reply %d: %+v, %v", n, r, err)
		}
	}
	files, err := c.Call(t.Context(), "org.example.probe.Files", nil, nil, os.Stdin)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if err := files[0].Close(); err != nil {
		t.Error(err)
	}
	_, err = c.Call(t.Context(), "org.example.probe.Else", nil, nil)
	if err == nil || err.Error() != `org.example.probe.Odd {"why":"Else"}` {
		t.Errorf("error reply: %v", err)
	}
}

// systemd's own client, where it is new enough to have one.
func TestVarlinkctl(t *testing.T) {
	program, err := exec.LookPath("varlinkctl")
	if err != nil {
		t.Skip("needs varlinkctl (systemd 255 or later)")
	}
	_, _, path := start(t, varlink.Options{})
	for _, tt := range []struct{ args, want string }{
		{"info " + path, "org.example.probe"},
		{"introspect " + path + " org.example.probe", "method Echo"},
		{"call -j " + path + ` org.example.probe.Echo {"text":"hello"}`, `{"text":"hello"}`},
		{"call -j --more " + path + ` org.example.probe.Count {"to":2}`, `{"n":2}`},
	} {
		out, err := exec.CommandContext(t.Context(), program, strings.Fields(tt.args)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("varlinkctl %s: %s %v", tt.args, out, err)
		}
	}
}

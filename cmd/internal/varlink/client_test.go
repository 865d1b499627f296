package varlink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/cmd/internal/varlink"
	"berth/fixtures/await"
)

func TestBuiltins(t *testing.T) {
	_, _, path := start(t, varlink.Options{CheckReplies: true})
	c := dial(t, path)
	var info struct {
		Vendor, Product, Version, URL string
		Interfaces                    []string
	}
	if _, err := c.Call(t.Context(), "org.varlink.service.GetInfo", nil, &info); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(info), "{V P 1 https://example.org [io.systemd io.systemd.service org.example.probe org.varlink.service]}"; got != want {
		t.Errorf("info %s\nwant %s", got, want)
	}
	for _, name := range info.Interfaces {
		var out struct{ Description string }
		if _, err := c.Call(t.Context(), "org.varlink.service.GetInterfaceDescription", map[string]string{"interface": name}, &out); err != nil {
			t.Fatal(err)
		}
		if in, err := varlink.ParseInterface(out.Description); err != nil || in.Name != name {
			t.Errorf("description of %s: %v", name, err)
		}
	}
	var level struct{ Level int }
	if _, err := c.Call(t.Context(), "io.systemd.service.GetLogLevel", nil, &level); err != nil || level.Level != 6 {
		t.Errorf("log level %d, %v", level.Level, err)
	}
	var env struct{ Environment []string }
	if _, err := c.Call(t.Context(), "io.systemd.service.GetEnvironment", nil, &env); err != nil || len(env.Environment) != 1 {
		t.Errorf("environment %q, %v", env.Environment, err)
	}
	var who struct {
		UID, PID int
		PIDFD    bool
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Whoami", nil, &who); err != nil || who.UID != os.Getuid() || who.PID != os.Getpid() || !who.PIDFD {
		t.Errorf("peer %+v, %v", who, err)
	}
}

func TestCallMore(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	var got []int
	for r, err := range c.CallMore(t.Context(), "org.example.probe.Count", map[string]int{"to": 3}) {
		if err != nil {
			t.Fatal(err)
		}
		var out struct{ N int }
		if err := r.Decode(&out); err != nil {
			t.Fatal(err)
		}
		if got = append(got, out.N); r.Continues != (out.N < 3) {
			t.Errorf("reply %d: continues %v", out.N, r.Continues)
		}
	}
	if fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("got %v", got)
	}
	for _, err := range c.CallMore(t.Context(), "org.example.probe.Count", map[string]int{"to": 3}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil); err == nil {
		t.Error("a connection with replies under way is used again")
	}
}

func TestFilesBothWays(t *testing.T) {
	_, _, path := start(t, varlink.Options{AcceptFDs: true})
	c := dial(t, path)
	if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	for range 5 {
		sendAndReceiveFiles(t, c)
	}
	await.Until(t, time.Minute, "all descriptors closed", func() bool { return openFDs(t) == before })
}

func sendAndReceiveFiles(t *testing.T, c *varlink.Client) {
	t.Helper()
	files := make([]*os.File, varlink.MaxFDs)
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		fmt.Fprint(f, i)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	var out struct{ Content []string }
	if _, err := c.Call(t.Context(), "org.example.probe.Files", nil, &out, files...); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(out.Content, " "); got != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15" {
		t.Errorf("server read %q", got)
	}
	// Nobody takes these: the server closes them.
	if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil, files...); err != nil {
		t.Fatal(err)
	}
	got, err := c.Call(t.Context(), "org.example.probe.Open", map[string]int{"n": varlink.MaxFDs}, nil)
	if err != nil || len(got) != varlink.MaxFDs {
		t.Fatalf("%d files, %v", len(got), err)
	}
	for i, f := range got {
		if text, err := io.ReadAll(f); string(text) != fmt.Sprint(i) || err != nil {
			t.Errorf("file %d says %q, %v", i, text, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Open", map[string]int{"n": varlink.MaxFDs + 1}, nil); err == nil {
		t.Error("more files than allowed are sent")
	}
}

func TestUnwantedFilesAreClosed(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	var out struct{ Content []string }
	if _, err := c.Call(t.Context(), "org.example.probe.Files", nil, &out, os.Stdin); err != nil || len(out.Content) != 0 {
		t.Errorf("%q, %v", out.Content, err)
	}
}

func TestCancelledCall(t *testing.T) {
	p, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-p.entered
		cancel()
	}()
	if _, err := c.Call(ctx, "org.example.probe.Block", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("call ended with %v", err)
	}
	if err := <-p.ended; !errors.Is(err, varlink.ErrDisconnected) {
		t.Errorf("server's context ended with %v", err)
	}
}

func TestConcurrentCallsTakeTurns(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var out struct{ Text string }
			in := map[string]string{"text": fmt.Sprint(i)}
			if _, err := c.Call(t.Context(), "org.example.probe.Echo", in, &out); err != nil || out.Text != in["text"] {
				t.Errorf("call %d: %q, %v", i, out.Text, err)
			}
		})
	}
	wg.Wait()
}

func TestLargeMessage(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	text := strings.Repeat("ä<", 2<<20)
	var out struct{ Text string }
	if _, err := c.Call(t.Context(), "org.example.probe.Echo", map[string]string{"text": text}, &out); err != nil || out.Text != text {
		t.Errorf("%d bytes came back, %v", len(out.Text), err)
	}
	huge := json.RawMessage(`{"text":"` + strings.Repeat("x", varlink.MaxMessage) + `"}`)
	if _, err := c.Call(t.Context(), "org.example.probe.Echo", huge, nil); err == nil {
		t.Error("a message over the limit is sent")
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
		t.Errorf("after a message that could not be sent: %v", err)
	}
}

func TestDialNobody(t *testing.T) {
	if _, err := varlink.Dial(t.Context(), t.TempDir()+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestServerGone(t *testing.T) {
	path := t.TempDir() + "/gone"
	var c *varlink.Client
	t.Run("serve", func(t *testing.T) {
		s := varlink.NewServer(varlink.Info{}, varlink.Options{})
		serve(t, s, path)
		var err error
		if c, err = varlink.Dial(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		await.Until(t, time.Minute, "connection", func() bool { return s.Connections() == 1 })
	})
	defer func() { _ = c.Close() }()
	if _, err := c.Call(t.Context(), "org.varlink.service.GetInfo", nil, nil); err == nil {
		t.Error("a call to nobody succeeds")
	}
}

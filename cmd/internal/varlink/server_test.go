package varlink_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/varlink"
	"berth/fixtures/await"
)

func TestParametersAreChecked(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dial(t, path)
	for _, tt := range []struct{ in, bad string }{
		{`{"text":"a"}`, ""},
		{`{"text":"a","n":null,"colour":null}`, ""},
		{`{"text":"a","n":18446744073709551615,"ratio":1,"colour":"red","flag":true}`, ""},
		{`{"text":"a","point":{"x":1,"next":{"x":2,"y":null}},"list":["a"],"table":{"a":1},"free":{"b":[{}]},"whatever":[1]}`, ""},
		{`{"text":"a","anything":5}`, ""},
		{`{"text":"a","anything":{"not":"described"}}`, "anything"},
		{`{}`, "text"},
		{`{"text":null}`, "text"},
		{`{"text":5}`, "text"},
		{`{"text":"a","text":"b"}`, "text"},
		{`{"Text":"a"}`, "Text"},
		{`{"text":"a","m":1}`, "m"},
		{`{"text":"a","n":1.5}`, "n"},
		{`{"text":"a","n":1e3}`, "n"},
		{`{"text":"a","n":18446744073709551616}`, "n"},
		{`{"text":"a","n":"1"}`, "n"},
		{`{"text":"a","ratio":"1"}`, "ratio"},
		{`{"text":"a","colour":"blue"}`, "colour"},
		{`{"text":"a","flag":1}`, "flag"},
		{`{"text":"a","point":{"y":1}}`, "point"},
		{`{"text":"a","point":{"x":1,"z":1}}`, "point"},
		{`{"text":"a","point":{"x":1,"next":{"x":"1"}}}`, "point"},
		{`{"text":"a","point":[]}`, "point"},
		{`{"text":"a","list":{"a":1}}`, "list"},
		{`{"text":"a","list":["a",null]}`, "list"},
		{`{"text":"a","table":{"a":"b"}}`, "table"},
		{`{"text":"a","free":[]}`, "free"},
	} {
		_, err := c.Call(t.Context(), "org.example.probe.Echo", json.RawMessage(tt.in), nil)
		var got struct{ Parameter string }
		var e *varlink.Error
		if errors.As(err, &e) && e.Name == varlink.ErrorInvalidParameter {
			if err := e.Decode(&got); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
		if got.Parameter != tt.bad {
			t.Errorf("%s: bad parameter %q, want %q", tt.in, got.Parameter, tt.bad)
		}
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Lax", json.RawMessage(`{"text":"a","m":{"deep":[1]}}`), nil); err != nil {
		t.Errorf("unknown parameter where they are to be ignored: %v", err)
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Lax", json.RawMessage(`{"m":1}`), nil); !errors.Is(err, varlink.InvalidParameter("")) {
		t.Errorf("mandatory parameter missing: %v", err)
	}
}

func TestErrors(t *testing.T) {
	_, s, path := start(t, varlink.Options{CheckReplies: true})
	c := dial(t, path)
	for _, tt := range []struct{ method, in, want string }{
		{"org.example.none.Echo", `{}`, `org.varlink.service.InterfaceNotFound {"interface":"org.example.none"}`},
		{"nodot", `{}`, `org.varlink.service.InterfaceNotFound {"interface":""}`},
		{"org.example.probe.None", `{}`, `org.varlink.service.MethodNotFound {"method":"org.example.probe.None"}`},
		{"org.example.probe.Missing", `{}`, `org.varlink.service.MethodNotImplemented {"method":"org.example.probe.Missing"}`},
		{"org.varlink.service.GetInterfaceDescription", `{"interface":"a.b"}`, `org.varlink.service.InterfaceNotFound {"interface":"a.b"}`},
		{"org.example.probe.Fail", `{"how":"errno"}`, `remove image: read-only file system`},
		{"org.example.probe.Fail", `{"how":"named"}`, `org.example.probe.Odd {"why":"so"}`},
		{"org.example.probe.Fail", `{"how":"no errno"}`, `no errno`},
		{"org.example.probe.Count", `{"to":0}`, `org.example.probe.Nothing`},
		{"org.example.probe.Count", `{"to":2}`, `org.varlink.service.ExpectedMore`},
		{"io.systemd.service.SetLogLevel", `{"level":8}`, `org.varlink.service.InvalidParameter {"parameter":"level"}`},
		{"io.systemd.service.SetLogLevel", `{}`, `org.varlink.service.InvalidParameter {"parameter":"level"}`},
	} {
		_, err := c.Call(t.Context(), tt.method, json.RawMessage(tt.in), nil)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s(%s): %v\nwant %s", tt.method, tt.in, err, tt.want)
		}
	}
	for _, how := range []string{"marshal", "misfit"} {
		_, err := c.Call(t.Context(), "org.example.probe.Fail", map[string]string{"how": how}, nil)
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", how, err)
		}
	}
	if _, err := c.Call(t.Context(), "org.example.probe.Fail", map[string]string{"how": "twice"}, nil); err != nil {
		t.Errorf("second reply: %v", err)
	}
	want := []string{"io.systemd.service.Reload", "org.example.probe.Missing"}
	if got := s.Unimplemented(); !slices.Equal(got, want) {
		t.Errorf("unimplemented: %q", got)
	}
}

func TestHandleRefusesWhatIsNotDescribed(t *testing.T) {
	s := varlink.NewServer(varlink.Info{}, varlink.Options{})
	none := func(context.Context, *varlink.Call) error { return nil }
	if err := s.Handle("interface a.b\nmethod M() -> ()", map[string]varlink.Handler{"N": none}); err == nil {
		t.Error("a handler without a method is taken")
	}
	if err := s.Handle("interface org.varlink.service", nil); err == nil {
		t.Error("an interface is taken twice")
	}
}

func TestPipelinedCallsAreAnsweredInOrder(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dialRaw(t, path)
	// Many more than the server reads ahead.
	const n = 500
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(c)
		for i := range n {
			fmt.Fprintf(w, `{"method":"org.example.probe.Echo","parameters":{"text":"%d"}}`+"\x00", i)
		}
		err := w.Flush()
		// The replies still come when only our sending side is closed.
		sent <- errors.Join(err, c.CloseWrite())
	}()
	r := bufio.NewReader(c)
	for i := range n {
		got, err := r.ReadString(0)
		if want := fmt.Sprintf(`{"parameters":{"text":"%d"}}`+"\x00", i); got != want {
			t.Fatalf("reply %d: %q, %v", i, got, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last reply: %v", err)
	}
}

func TestMessageInPieces(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dialRaw(t, path)
	for _, b := range []byte(`{"method":"org.example.probe.Quiet"}` + "\x00") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := bufio.NewReader(c).ReadString(0); got != "{}\x00" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBrokenProtocolEndsTheConnection(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	for name, text := range map[string]string{
		"no JSON":         "hello\x00",
		"empty":           "\x00",
		"array":           "[]\x00",
		"no method":       "{}\x00",
		"unknown field":   `{"method":"a.b.C","foo":1}` + "\x00",
		"bad flag":        `{"method":"a.b.C","more":"yes"}` + "\x00",
		"more and oneway": `{"method":"a.b.C","more":true,"oneway":true}` + "\x00",
		"array as input":  `{"method":"a.b.C","parameters":[]}` + "\x00",
		"no UTF-8":        "{\"method\":\"a.b.\xff\"}\x00",
		"too deep":        `{"method":"a.b.C","parameters":{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}}\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, path)
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			expectClosed(t, c)
		})
	}
	t.Run("too long", func(t *testing.T) {
		c := dialRaw(t, path)
		block := []byte(strings.Repeat(" ", 1<<20))
		for range 20 {
			if _, err := c.Write(block); err != nil {
				return // the server has seen enough
			}
		}
		expectClosed(t, c)
	})
	t.Run("half a message", func(t *testing.T) {
		c := dialRaw(t, path)
		if _, err := c.Write([]byte(`{"method":`)); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		expectClosed(t, c)
	})
}

func TestUpgradeIsRefused(t *testing.T) {
	_, _, path := start(t, varlink.Options{})
	c := dialRaw(t, path)
	if _, err := c.Write([]byte(`{"method":"org.example.probe.Quiet","upgrade":true}` + "\x00")); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(c).ReadString(0)
	if want := `{"parameters":{"parameter":"upgrade"},"error":"org.varlink.service.InvalidParameter"}` + "\x00"; got != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHangupEndsTheCall(t *testing.T) {
	p, _, path := start(t, varlink.Options{})
	for _, ahead := range []int{0, 100} {
		c := dialRaw(t, path)
		if _, err := c.Write([]byte(`{"method":"org.example.probe.Block"}` + "\x00")); err != nil {
			t.Fatal(err)
		}
		<-p.entered
		// With many calls in the queue the server has stopped to read.
		if _, err := c.Write([]byte(strings.Repeat(`{"method":"org.example.probe.Quiet"}`+"\x00", ahead))); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-p.ended; !errors.Is(err, varlink.ErrDisconnected) {
			t.Errorf("context ended with %v", err)
		}
	}
}

func TestServerEndEndsCalls(t *testing.T) {
	p, s, _ := start(t, varlink.Options{})
	path := t.TempDir() + "/second"
	outer := t
	t.Run("serve", func(t *testing.T) {
		serve(t, s, path)
		// The server ends with this subtest, the client only with the test.
		c := dialRaw(outer, path)
		if _, err := c.Write([]byte(`{"method":"org.example.probe.Block"}` + "\x00")); err != nil {
			t.Fatal(err)
		}
		<-p.entered
	})
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("context ended with %v", err)
	}
}

func TestSlowReaderLosesOnlyItsOwnConnection(t *testing.T) {
	// Long enough for whoever does read, on a machine that is busy.
	p, _, path := start(t, varlink.Options{WriteTimeout: 2 * time.Second})
	slow := dialRaw(t, path)
	call := `{"method":"org.example.probe.Flood","parameters":{"size":100000},"more":true}` + "\x00"
	if _, err := slow.Write([]byte(call)); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, path).Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
		t.Errorf("a call beside the slow reader: %v", err)
	}
	if err := <-p.floods; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the slow reader's call ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("the slow reader's connection does not end: %v", err)
	}
}

func TestConnectionLimits(t *testing.T) {
	held := make(chan int, 10)
	_, s, path := start(t, varlink.Options{MaxPerUID: 2, Hold: func() func() {
		held <- 1
		return func() { held <- -1 }
	}})
	first, second := dial(t, path), dial(t, path)
	for _, c := range []*varlink.Client{first, second} {
		if _, err := c.Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	expectClosed(t, dialRaw(t, path))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "a free place", func() bool { return s.Connections() == 1 })
	if _, err := dial(t, path).Call(t.Context(), "org.example.probe.Quiet", nil, nil); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if sum := <-held + <-held + <-held; sum != 1 {
		t.Errorf("holds add up to %d", sum)
	}
}

func TestOnewayCallsAreDoneAfterHangup(t *testing.T) {
	p, _, path := start(t, varlink.Options{})
	c := dialRaw(t, path)
	// More than the server reads ahead, behind a call that ends by the hangup.
	const n = 80
	text := `{"method":"org.example.probe.Block"}` + "\x00" +
		strings.Repeat(`{"method":"org.example.probe.Note","oneway":true}`+"\x00", n)
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	<-p.entered
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; !errors.Is(err, varlink.ErrDisconnected) {
		t.Errorf("context ended with %v", err)
	}
	for range n {
		<-p.entered
	}
}

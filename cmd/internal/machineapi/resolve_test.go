package machineapi_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

type filter struct{ FilterDomains []string }

func TestResolveHook(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	c := h.other((*machineapi.Service).ResolveHook)
	const method = "io.systemd.Resolve.Hook."
	if got := outcome(t, c, method+"QueryFilter", `{}`); got != `{"filterDomains":[]}` {
		t.Errorf("without machines: %s", got)
	}
	for _, c := range []struct{ in, want string }{
		{`{"question":[{"key":{"type":1,"name":"foo"}}]}`, `{}`},
		{`{"question":[]}`, varlink.ErrorInvalidParameter},
		{`{"question":[` + strings.Repeat(`{"key":{"type":1,"name":"foo"}},`, 64) + `{"key":{"type":1,"name":"foo"}}]}`, varlink.ErrorInvalidParameter},
		{`{}`, varlink.ErrorInvalidParameter},
		{`{"question":[{"key":{"type":70000,"name":"foo"}}]}`, varlink.ErrorInvalidParameter},
	} {
		if got := outcome(t, h.other((*machineapi.Service).ResolveHook), method+"ResolveRecord", c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
	updates := h.watchFilter(h.other((*machineapi.Service).ResolveHook))
	updates.want()
	if err := h.register(map[string]any{"name": "foo", "class": "container", "leader": h.leader()}); err != nil {
		t.Fatal(err)
	}
	updates.want("foo")
	if err := h.register(map[string]any{"name": "a.b", "class": "vm", "leader": h.leader()}); err != nil {
		t.Fatal(err)
	}
	updates.want("a.b", "foo")
	// A user's own machine does not get to be a host name for everybody.
	if _, err := h.service.Manager.Register(t.Context(), machined.Caller{UID: 65534, PID: os.Getpid(), Administrator: true}, machined.Registration{
		Name: "www.example.com", Class: machined.ClassContainer, Leader: machined.ProcessRef{ProcessID: machined.ProcessID{PID: h.leader()}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, c, method+"QueryFilter", `{}`); got != `{"filterDomains":["a.b","foo"]}` {
		t.Errorf("with a user's machine: %s", got)
	}
	if got := outcome(t, c, method+"ResolveRecord", `{"question":[{"key":{"type":1,"name":"x.www.example.com"}}]}`); got != `{}` {
		t.Errorf("below a user's machine: %s", got)
	}
	for in, want := range map[string]string{
		`{"question":[{"key":{"type":1,"name":"foo"}}]}`:              "io.systemd.System", // it has the host's network
		`{"question":[{"key":{"type":16,"name":"foo"}}]}`:             `{"rcode":0,"answer":[]}`,
		`{"question":[{"key":{"class":1,"type":28,"name":"x.a.b"}}]}`: `{"rcode":3}`,
	} {
		if got := outcome(t, c, method+"ResolveRecord", in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if err := h.client.Terminate(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	updates.want("a.b")
}

// filterUpdates are what a client is told that keeps the connection.
type filterUpdates struct {
	t    *testing.T
	next chan []string
}

func (h *varlinkHost) watchFilter(c *varlink.Client) filterUpdates {
	h.t.Helper()
	u := filterUpdates{h.t, make(chan []string)}
	go func() {
		defer close(u.next)
		for reply, err := range c.CallMore(h.t.Context(), "io.systemd.Resolve.Hook.QueryFilter", nil) {
			var f filter
			if err != nil || reply.Decode(&f) != nil {
				if h.t.Context().Err() == nil && !errors.Is(err, varlink.ErrDisconnected) {
					h.t.Errorf("watch the filter: %v", err)
				}
				return
			}
			select {
			case u.next <- f.FilterDomains:
			case <-h.t.Context().Done():
				return
			}
		}
	}()
	return u
}

// want waits for a list; an earlier one may come again before.
func (u filterUpdates) want(names ...string) {
	u.t.Helper()
	for got := range u.next {
		if slices.Equal(got, names) {
			return
		}
	}
	u.t.Errorf("no update said %q", names)
}

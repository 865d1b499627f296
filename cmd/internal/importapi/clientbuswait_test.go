package importapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/cmd/internal/importapi"
	"berth/fixtures/await"
	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

// pullOf is a pull of a tar archive that needs no proof.
func pullOf(url, local string) importapi.PullParameters {
	return importapi.PullParameters{Remote: url, Local: local, Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo}
}

// waitingFor calls back when a client says that it waits for another transfer, with
// what it says, and returns how its own ends.
func waitingFor(c *importapi.BusClient, ctx context.Context, p importapi.PullParameters, waits func(text string)) error {
	for u, err := range c.Pull(ctx, p) {
		if err != nil {
			return err
		}
		if u.Log != nil && strings.HasPrefix(u.Log.Message, "Waiting for transfer ") {
			waits(u.Log.Message)
		}
	}
	return nil
}

// stalled starts a pull of a URL whose server sends nothing after a while.
func (h *host) stalled() (server *faultserver.Server, url string, id uint32) {
	h.t.Helper()
	server = faultserver.Start(h.t)
	server.Set("/x.tar", faultserver.Answer{Body: tree(h.t), Fault: faultserver.Stall, At: 600})
	url = server.URL("/x.tar")
	id, _ = h.start("PullTar", url, "first", "no", false)
	return server, url, id
}

// TestBusClientWaits: a URL that is being pulled already is pulled afterwards, as
// over Varlink, however the first pull ends.
func TestBusClientWaits(t *testing.T) {
	h := newHost(t)
	h.start("PullRaw", fileURL(t, nil), "of another form", "no", false)
	server, url, first := h.stalled()
	waited := 0
	err := waitingFor(h.client(), t.Context(), pullOf(url, "second"), func(text string) {
		waited++
		if want := fmt.Sprintf("Waiting for transfer %d, which pulls the same URL.", first); text != want {
			t.Errorf("it says %q, want %q", text, want)
		}
		server.Set("/x.tar", faultserver.Answer{Body: tree(t)})
		if err := h.manager.Cancel(first); err != nil {
			t.Error(err)
		}
	})
	if err != nil || waited != 1 {
		t.Errorf("waited %d times, then: %v", waited, err)
	}
	if list, err := h.client().ListImages(t.Context(), images.ClassMachine); err != nil ||
		!slices.ContainsFunc(list, func(i importapi.Image) bool { return i.Name == "second" }) {
		t.Errorf("images are %+v, %v", list, err)
	}
}

// TestBusClientWaitsUntilInterrupted: what it waited for goes on.
func TestBusClientWaitsUntilInterrupted(t *testing.T) {
	h := newHost(t)
	_, url, first := h.stalled()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := waitingFor(h.client(), ctx, pullOf(url, "second"), func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if list := h.manager.List(); len(list) != 1 || list[0].ID != first {
		t.Errorf("transfers: %v", list)
	}
}

// TestBusClientWaitsAndLeaves: a caller that wants no more is let go.
func TestBusClientWaitsAndLeaves(t *testing.T) {
	h := newHost(t)
	_, url, _ := h.stalled()
	heard := 0
	for u, err := range h.client().Pull(t.Context(), pullOf(url, "second")) {
		heard++
		if err != nil || u.Log == nil {
			t.Errorf("heard %+v, %v", u, err)
		}
		break
	}
	if heard != 1 {
		t.Errorf("heard %d things", heard)
	}
}

// TestBusClientWaitsForNobody: an importd that has ended, or a bus, ends no transfer
// any more.
func TestBusClientWaitsForNobody(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(h *host)
		want string
	}{
		"importd ends": {func(h *host) { h.leaveBus() }, "no importd is running there"},
		"the bus ends": {func(h *host) { h.stopBus(); h.stopBus = func() {} }, ""}, // it may tell of the end of importd first
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			_, url, _ := h.stalled()
			err := waitingFor(h.client(), t.Context(), pullOf(url, "second"), func(string) { test.end(h) })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestBusClientWaitsNotForNothing: what importd says is in progress and then does
// not list is not asked for again for ever.
func TestBusClientWaitsNotForNothing(t *testing.T) {
	h := newHost(t)
	h.leaveBus()
	const inProgress = "org.freedesktop.import1.TransferInProgress"
	var asked atomic.Int32
	err := h.conn.ExportMethodTable(map[string]any{
		"PullTar": func(string, string, string, bool) *dbus.Error {
			asked.Add(1)
			return dbus.NewError(inProgress, []any{"it is being pulled"})
		},
		// An old importd: there is no ListTransfersEx.
		"ListTransfers": func() ([]struct {
			ID                  uint32
			Type, Remote, Local string
			Progress            float64
			Path                dbus.ObjectPath
		}, *dbus.Error,
		) {
			return nil, nil
		},
	}, managerPath, manager)
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "importd to leave its name", func() bool {
		reply, err := h.conn.RequestName(importapi.BusName, dbus.NameFlagDoNotQueue)
		if err != nil {
			t.Fatal(err)
		}
		return reply == dbus.RequestNameReplyPrimaryOwner
	})
	err = waitingFor(h.client(), t.Context(), pullOf("http://127.0.0.1:1/x.tar", "x"), func(text string) { t.Error(text) })
	if err == nil || err.Error() != "it is being pulled" || asked.Load() < 2 {
		t.Errorf("asked %d times, then: %v", asked.Load(), err)
	}
}

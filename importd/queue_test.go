package importd_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"
)

// serve answers requests for "/foo.tar", one by one, and returns its URL.
func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/foo.tar", answer)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/foo.tar"
}

// gated serves an archive that keeps its clients waiting until open is called, and
// counts how often it was sent.
func gated(t *testing.T, archive []byte) (url string, open func(), sent *atomic.Int32) {
	t.Helper()
	gate := make(chan struct{})
	sent = new(atomic.Int32)
	url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		sent.Add(1)
		if _, err := w.Write(archive); err != nil {
			t.Error(err)
		}
	})
	return url, func() { close(gate) }, sent
}

// join asks for a pull that must be accepted.
func (h *host) join(r importd.Request, local string, want *importd.Transfer) *importd.Transfer {
	h.t.Helper()
	r.Class, r.Local = images.ClassMachine, local
	got, joined, err := h.manager.Join(r)
	if err != nil || joined != (want != nil) || joined && got != want {
		h.t.Fatalf("pull as %q: %+v, joined %t, %v", local, got, joined, err)
	}
	return got
}

func TestPullsOfOneURL(t *testing.T) {
	h := newHost(t)
	url, open, sent := gated(t, tree(t))
	r := pullTar(url)
	r.KeepDownload = true
	a := h.join(r, "a", nil)
	h.join(r, "a", a)
	b, c := h.join(r, "b", nil), h.join(r, "c", nil)
	h.join(r, "b", b)
	forced := r
	forced.Force = true
	d := h.join(forced, "a", nil)

	r.Class, r.Local = images.ClassMachine, "a"
	if _, err := h.manager.Start(r); !errors.Is(err, importd.ErrInProgress) {
		t.Errorf("a pull that is not to wait: %v", err)
	}
	if list := h.manager.List(); len(list) != 4 || list[2].ID != c.ID() || list[2].Local != "c" || list[2].Progress != importd.ProgressUnknown {
		t.Errorf("listed: %+v", list)
	}
	if err := h.manager.Cancel(c.ID()); err != nil || !errors.Is(c.Err(), importd.ErrCanceled) {
		t.Errorf("cancel of one that waits: %v, %v", err, c.Err())
	}
	open()
	for _, transfer := range []*importd.Transfer{a, b, d} {
		if err := transfer.Err(); err != nil {
			t.Errorf("transfer %d: %v", transfer.ID(), err)
		}
	}
	if sent.Load() != 1 {
		t.Errorf("the archive was sent %d times", sent.Load())
	}
	if got := h.entries(); len(got) != 3 || !slices.Equal(got[1:], []string{"a", "b"}) {
		t.Errorf("the image root has %q", got)
	}
	h.inTurn(c, a, b, d)
}

// inTurn checks that transfers were announced once, in the order of their ids, and
// ended in this order.
func (h *host) inTurn(ends ...*importd.Transfer) {
	h.t.Helper()
	last := uint32(0)
	for len(ends) > 0 {
		e, err := h.events.Next(h.t.Context())
		switch {
		case err != nil:
			h.t.Fatal(err)
		case e.Kind == importd.EventNew && e.Transfer.ID == last+1:
			last++
		case e.Kind == importd.EventNew:
			h.t.Errorf("transfer %d follows %d", e.Transfer.ID, last)
		case e.Kind == importd.EventRemoved:
			if e.Transfer.ID != ends[0].ID() {
				h.t.Errorf("transfer %d ends before %d", e.Transfer.ID, ends[0].ID())
			}
			ends = ends[1:]
		}
	}
}

// Nobody gets the end of a transfer that another has canceled before, and one that
// fails takes nobody along.
func TestPullAfterACanceledOne(t *testing.T) {
	h := newHost(t)
	arrived, archive := make(chan struct{}), tree(t)
	var requests atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 1:
			close(arrived)
			<-r.Context().Done()
		case 2:
			w.WriteHeader(http.StatusForbidden)
		default:
			if _, err := w.Write(archive); err != nil {
				t.Error(err)
			}
		}
	})
	r := pullTar(url)
	a := h.join(r, "a", nil)
	<-arrived
	if err := h.manager.Cancel(a.ID()); err != nil {
		t.Fatal(err)
	}
	b, c := h.join(r, "a", nil), h.join(r, "c", nil)
	if err := a.Err(); !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("the canceled one: %v", err)
	}
	if err := b.Err(); err == nil || errors.Is(err, importd.ErrCanceled) {
		t.Errorf("the one that fails: %v", err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("the last one: %v", err)
	}
}

func TestEndWithPullsThatWait(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t), Fault: faultserver.Stall, At: 600})
	r := pullTar(server.URL("/foo.tar"))
	a, b := h.join(r, "a", nil), h.join(r, "b", nil)
	h.manager.Close()
	for _, transfer := range []*importd.Transfer{a, b} {
		if err := transfer.Err(); !errors.Is(err, importd.ErrCanceled) {
			t.Errorf("transfer %d: %v", transfer.ID(), err)
		}
	}
	h.mustBeEmpty()
}

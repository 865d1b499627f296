package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/fixtures/faultserver"
	"berth/transfer/fetch/spool"

	"golang.org/x/sys/unix"
)

// large is worth several connections.
var large = text(12 << 20)

func largeGood() faultserver.Answer {
	return faultserver.Answer{Body: large, ETag: tag, Ranges: faultserver.RangesOn}
}

// slowClient takes every server for a slow one.
func slowClient(t *testing.T, change ...func(*Options)) (*Client, *journal) {
	t.Helper()
	c, j := client(t, change...)
	c.enough = func(rate) bool { return false }
	return c, j
}

// gate is a server whose answers to requests for a whole file stop after the first bytes until it is opened.
type gate struct {
	*httptest.Server
	opened chan struct{}
	open   func()
	part   func(n int, w http.ResponseWriter, r *http.Request)

	mu    sync.Mutex
	whole string // the protocol of the request for all
	parts []*http.Request
}

// gateAt is how much comes before the gate.
const gateAt = 256 << 10

// newGate answers requests for parts by part, which gets the number of the request. It is to be started.
func newGate(t *testing.T, part func(n int, w http.ResponseWriter, r *http.Request)) *gate {
	t.Helper()
	g := &gate{opened: make(chan struct{}), part: part}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	g.Server = httptest.NewUnstartedServer(g)
	t.Cleanup(func() { g.open(); g.Close() })
	return g
}

func startGate(t *testing.T, part func(n int, w http.ResponseWriter, r *http.Request)) *gate {
	t.Helper()
	g := newGate(t, part)
	g.Start()
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Range") != "" {
		g.mu.Lock()
		g.parts = append(g.parts, r)
		n := len(g.parts)
		g.mu.Unlock()
		g.part(n, w, r)
		return
	}
	g.mu.Lock()
	g.whole = r.Proto
	g.mu.Unlock()
	w.Header().Set("ETag", tag)
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", strconv.Itoa(len(large)))
	_, _ = w.Write(large[:gateAt])
	w.(http.Flusher).Flush()
	select {
	case <-g.opened:
		_, _ = w.Write(large[gateAt:])
	case <-r.Context().Done():
	}
}

// asked returns how often parts were asked for so far.
func (g *gate) asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.parts)
}

// serve answers with a version of the file.
func serve(w http.ResponseWriter, r *http.Request, etag string, body []byte) {
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func goodPart(_ int, w http.ResponseWriter, r *http.Request) { serve(w, r, tag, large) }

// spoolFor returns the request for a file with a spool.
func spoolFor(t *testing.T, url string) Request {
	return Request{URL: url, Spool: filepath.Join(t.TempDir(), spool.Name(url))}
}

func mustBeLarge(t *testing.T, got []byte, err error, j *journal) {
	t.Helper()
	if err != nil || !bytes.Equal(got, large) {
		t.Fatalf("got %d bytes, %v; %s", len(got), err, j)
	}
}

// By HTTP/2 the parts would share the one slow connection, so that they are asked for by HTTP/1.1.
func TestSlowServerIsAskedForParts(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"HTTP/1.1": (*httptest.Server).Start,
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, goodPart)
			start(g.Server)
			c, j := slowClient(t, func(o *Options) {
				if cert := g.Certificate(); cert != nil {
					o.Roots = x509.NewCertPool()
					o.Roots.AddCert(cert)
				}
			})
			d, first := begin(t, c, spoolFor(t, g.URL))
			wait(t, d.parallel, onlyLead)
			if g.whole != name || g.asked() < 2 {
				t.Errorf("the first request was by %s, %d followed", g.whole, g.asked())
			}
			for _, r := range g.parts {
				asked := r.Header.Get("Range")
				if r.Proto != "HTTP/1.1" || r.Header.Get("If-Range") != tag || strings.HasSuffix(asked, "-") {
					t.Errorf("asked for %q if %q by %s", asked, r.Header.Get("If-Range"), r.Proto)
				}
			}
			g.open()
			finish(t, d, first, j)
			if d.Received() != int64(len(large)) || d.Resumed() != 0 || d.Size() != d.Received() {
				t.Errorf("received %d and resumed %d of %d", d.Received(), d.Resumed(), d.Size())
			}
			if log := j.String(); strings.Count(log, "fetching over up to") != 1 {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestOneConnectionIsEnough(t *testing.T) {
	for name, answer := range map[string]faultserver.Answer{
		"small":        good(),
		"no ranges":    {Body: large, ETag: tag},
		"no validator": {Body: large, Ranges: faultserver.RangesOn},
		"weak":         {Body: large, ETag: "W/" + tag, Ranges: faultserver.RangesOn},
		"no size":      {Body: large, ETag: tag, Ranges: faultserver.RangesOn, Chunked: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := faultserver.Start(t)
			s.Set("/f", answer)
			c, j := slowClient(t)
			got, _, err := fetch(t, c, spoolFor(t, s.URL("/f")))
			if n := len(s.Requests("/f")); err != nil || !bytes.Equal(got, answer.Body) || n != 1 {
				t.Errorf("%d bytes by %d requests, %v; %s", len(got), n, err, j)
			}
		})
	}
	t.Run("fast", func(t *testing.T) {
		s := faultserver.Start(t)
		s.Set("/f", largeGood())
		c, j := client(t)
		c.enough = func(rate) bool { return true }
		got, _, err := fetch(t, c, spoolFor(t, s.URL("/f")))
		mustBeLarge(t, got, err, j)
		if n := len(s.Requests("/f")); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestRate(t *testing.T) {
	var r rate
	for _, tt := range []struct {
		n      int
		waited time.Duration
		enough bool
	}{
		{100, 10 * time.Millisecond, true}, // too early to tell
		{100, 20 * time.Millisecond, true}, // once is not enough
		{100, 10 * time.Millisecond, true}, // counted anew
		{100, 20 * time.Millisecond, false},
		{10 << 20, 100 * time.Millisecond, true}, // 100 MiB/s
		{1 << 20, 100 * time.Millisecond, true},
		{1 << 20, 100 * time.Millisecond, false},
	} {
		if r.add(tt.n, tt.waited); r.enough() != tt.enough {
			t.Errorf("%d bytes in %s: %s is enough: %v", tt.n, tt.waited, r, r.enough())
		}
	}
}

// Whatever servers do to further connections, the first one goes on as if it were alone.
func TestHelpersFail(t *testing.T) {
	other := bytes.ToUpper(large)
	tests := map[string]func(n int, w http.ResponseWriter, r *http.Request){
		"refused":   func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"not found": func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"expired": func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 7 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			serve(w, r, tag, large)
		},
		"later too many": func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 7 {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			serve(w, r, tag, large)
		},
		"later hung up": func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 7 {
				panic(http.ErrAbortHandler)
			}
			serve(w, r, tag, large)
		},
		"another version without a word": func(_ int, w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-Range")
			serve(&mute{w}, r, `"v2"`, other)
		},
		"hung up":      func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"changed":      func(_ int, w http.ResponseWriter, r *http.Request) { serve(w, r, `"v2"`, other) },
		"no validator": func(_ int, w http.ResponseWriter, r *http.Request) { serve(w, r, "", other) },
		"whole": func(_ int, w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			serve(w, r, tag, large)
		},
		"another part": func(_ int, w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=5-2000")
			serve(w, r, tag, large)
		},
		"cut": func(_ int, w http.ResponseWriter, r *http.Request) {
			serve(&cutter{ResponseWriter: w, left: 100_000}, r, tag, large)
		},
		"one good, then changed": func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				serve(w, r, tag, large)
				return
			}
			serve(w, r, `"v2"`, other)
		},
	}
	for name, part := range tests {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, part)
			c, j := slowClient(t)
			d, start := begin(t, c, spoolFor(t, g.URL))
			wait(t, d.parallel, func(p *parallel) bool { return p.ended || p.helping == 0 && (p.refused || p.budget == 0) })
			g.open()
			finish(t, d, start, j)
			if g.asked() == 0 || d.Size() != int64(len(large)) {
				t.Errorf("asked for %d parts, the size is %d", g.asked(), d.Size())
			}
			if strings.Count(j.String(), "fetching over up to") != 1 {
				t.Errorf("tried more than once: %s", j)
			}
		})
	}
}

// begin reads until there are several connections.
func begin(t *testing.T, c *Client, req Request) (*Download, []byte) {
	t.Helper()
	d, err := c.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var start []byte
	for buf := make([]byte, 1000); d.parallel == nil; {
		n, err := d.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		start = append(start, buf[:n]...)
	}
	return d, start
}

// finish reads on after begin to the end of the large file.
func finish(t *testing.T, d *Download, start []byte, j *journal) {
	t.Helper()
	rest, err := io.ReadAll(d)
	mustBeLarge(t, append(start, rest...), err, j)
	if err := d.Finish(); err != nil {
		t.Error(err)
	}
}

// wait returns when a condition holds.
func wait(t *testing.T, p *parallel, reached func(*parallel) bool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !reached(p) {
		if p.ended {
			t.Fatalf("the connections have ended: %v", p.err)
		}
		p.changed.Wait()
	}
}

// mute leaves out the validators.
type mute struct{ http.ResponseWriter }

func (m *mute) WriteHeader(status int) {
	m.Header().Del("ETag")
	m.ResponseWriter.WriteHeader(status)
}

// cutter closes the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// onlyLead says that all is there but what the first connection fetches.
func onlyLead(p *parallel) bool {
	return len(p.claims) == 1 && p.spool.Gap(p.claimed(true)).Empty() && p.spool.Has(gateAt-1)
}

// When the others are done, the first connection is lost.
func TestFirstConnectionIsLost(t *testing.T) {
	g := startGate(t, goodPart)
	c, j := slowClient(t)
	d, start := begin(t, c, spoolFor(t, g.URL))
	wait(t, d.parallel, onlyLead)
	g.CloseClientConnections()
	finish(t, d, start, j)
	if d.Received() != int64(len(large)) {
		t.Errorf("received %d bytes", d.Received())
	}
}

// A server that refuses the first connection when that comes back may do so because of the others.
func TestFirstConnectionIsRefused(t *testing.T) {
	var refused atomic.Int32
	g := startGate(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Range"), "-") && refused.Add(1) <= 2 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		serve(w, r, tag, large)
	})
	c, j := slowClient(t)
	d, start := begin(t, c, spoolFor(t, g.URL))
	wait(t, d.parallel, onlyLead)
	g.CloseClientConnections()
	finish(t, d, start, j)
}

// Helpers that are slower together than one connection was are not worth resting for.
func TestTooSlow(t *testing.T) {
	p := &parallel{first: 1000, brought: 5000}
	for _, tt := range []struct {
		rested  time.Duration
		brought int64
		want    bool
	}{{time.Second, 0, false}, {time.Hour, 3600 * 600, false}, {time.Hour, 3600 * 400, true}} {
		p.resting = rest{since: time.Now().Add(-tt.rested), brought: p.brought}
		p.brought += tt.brought
		if got := p.tooSlow(); got != tt.want {
			t.Errorf("%d bytes in %s are too slow: %v", tt.brought, tt.rested, got)
		}
	}
}

// A spool with a gap in its middle is filled there, and what is damaged behind the gap is fetched again.
func TestSpoolWithGaps(t *testing.T) {
	for name, damage := range map[string]int64{"whole": -1, "damaged": 11 << 20} {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, goodPart)
			c, j := slowClient(t)
			req := spoolFor(t, g.URL)
			d, _ := begin(t, c, req)
			// All but the part of the first connection.
			wait(t, d.parallel, onlyLead)
			have := d.Size() - d.spool.Missing(nil)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			lost := scribble(t, req.Spool, damage)

			c.enough = func(rate) bool { return true }
			got, d, err := fetch(t, c, req)
			mustBeLarge(t, got, err, j)
			if d.Resumed() > have || d.Resumed() < have-lost || d.Received() != int64(len(large))-d.Resumed() {
				t.Errorf("resumed %d of %d and received %d", d.Resumed(), have, d.Received())
			}
			if damaged := d.Resumed() < have; damaged != (lost > 0) {
				t.Errorf("resumed %d of %d", d.Resumed(), have)
			}
		})
	}
}

// What comes faster than a disk is not kept, and not fetched either when others help with the rest.
func TestSpoolWithoutWhatCameFast(t *testing.T) {
	whole := text(32 << 20)
	s := faultserver.Start(t)
	s.Set("/f", faultserver.Answer{Body: whole, ETag: tag, Ranges: faultserver.RangesOn})
	c, j := client(t)
	c.enough = func(rate) bool { return true }
	req := spoolFor(t, s.URL("/f"))
	d, err := c.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	read := func(n int64) {
		t.Helper()
		buf := make([]byte, 64<<10)
		for end := d.offset + n; d.offset < end; {
			from := d.offset
			n, err := d.Read(buf[:min(int64(len(buf)), end-from)])
			if err != nil || !bytes.Equal(buf[:n], whole[from:d.offset]) {
				t.Fatalf("%d bytes at %d: %v; %s", n, from, err, j)
			}
		}
	}
	read(1 << 20)
	d.since = time.Now().Add(time.Hour) // more than all of it has come already
	read(19 << 20)
	fast := d.spool.Missing(nil) - 12<<20
	if fast <= 3<<20 || fast > 4<<20 { // a read may begin before alwaysKept and end behind it
		t.Errorf("%d bytes are not kept", fast)
	}
	d.since = time.Now().Add(-time.Hour)
	read(1 << 20)
	c.enough = func(rate) bool { return false }
	read(11 << 20)
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || d.Received() != 32<<20 || d.parallel != nil {
		t.Errorf("at the end: %v; received %d", err, d.Received())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	c.enough = func(rate) bool { return true }
	got, d, err := fetch(t, c, req)
	if err != nil || !bytes.Equal(got, whole) || d.Received() != fast || d.Resumed() != 32<<20-fast {
		t.Errorf("got %d bytes, %v; received %d, resumed %d", len(got), err, d.Received(), d.Resumed())
	}
}

// scribble damages a spool at an offset of the file, and returns how much that costs at most.
func scribble(t *testing.T, path string, offset int64) (lost int64) {
	t.Helper()
	if offset < 0 {
		return 0
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("damage"), spoolData+offset)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return 2 << 20 // a record has up to 1 MiB
}

// One that brings nothing is given up, and its part is fetched by others.
func TestHelperHangs(t *testing.T) {
	g := startGate(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			w = &hanger{ResponseWriter: w, until: r.Context().Done(), left: 1000}
		}
		serve(w, r, tag, large)
	})
	c, j := slowClient(t)
	c.parts.options.StallTimeout = 200 * time.Millisecond
	d, start := begin(t, c, spoolFor(t, g.URL))
	wait(t, d.parallel, onlyLead)
	g.open()
	finish(t, d, start, j)
	if d.Received() != int64(len(large)) {
		t.Errorf("received %d bytes", d.Received())
	}
}

// A trickle is slow compared with the first connection, though it is alive.
func TestSlowPartIsAStall(t *testing.T) {
	w := watch{timeout: time.Hour, floor: 1, timer: time.NewTimer(time.Hour)}
	for _, tt := range []struct {
		n      int
		waited time.Duration
		stalls bool
	}{{3000, 40 * time.Minute, false}, {700, 0, false}, {100, 40 * time.Minute, false}, {100, 40 * time.Minute, true}} {
		w.started = time.Now().Add(-tt.waited)
		if got := w.end(tt.n); got != tt.stalls {
			t.Errorf("%d more bytes after %s: stalled: %v", tt.n, tt.waited, got)
		}
	}
}

// smallDisk mounts a tmpfs for a spool.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The disk becomes full while several connections write to it.
func TestPartsOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "30m")
	hold := make(chan struct{})
	g := startGate(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		<-hold
		serve(w, r, tag, large)
	})
	c, j := slowClient(t)
	d, start := begin(t, c, Request{URL: g.URL, Spool: filepath.Join(dir, "spool")})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 30<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	close(hold)
	g.open()
	rest, err := io.ReadAll(d)
	mustBeLarge(t, append(start, rest...), err, j)
	if err := errors.Join(d.Close(), os.Remove(filler)); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
	if log := j.String(); strings.Count(log, "cannot be resumed") != 1 || !strings.Contains(log, "no space left") {
		t.Errorf("log: %s", log)
	}
}

// What would fill the disk before the image does comes over one connection.
func TestNoPartsOnASmallDisk(t *testing.T) {
	dir := smallDisk(t, "20m")
	s := faultserver.Start(t)
	s.Set("/f", largeGood())
	c, j := slowClient(t)
	got, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: filepath.Join(dir, "spool")})
	mustBeLarge(t, got, err, j)
	if n := len(s.Requests("/f")); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// What cannot be read back comes from the server once more.
func TestUnreadableSpool(t *testing.T) {
	g := startGate(t, goodPart)
	c, j := slowClient(t)
	req := spoolFor(t, g.URL)
	d, start := begin(t, c, req)
	wait(t, d.parallel, onlyLead)
	if err := os.Truncate(req.Spool, spoolData+100_000); err != nil {
		t.Fatal(err)
	}
	var opened sync.WaitGroup
	opened.Go(func() {
		p := d.parallel
		p.mu.Lock()
		for p.broken == nil {
			p.changed.Wait()
		}
		p.mu.Unlock()
		g.open()
	})
	rest, err := io.ReadAll(d)
	opened.Wait()
	mustBeLarge(t, append(start, rest...), err, j)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if log := j.String(); strings.Count(log, "cannot be resumed") != 1 {
		t.Errorf("log: %s", log)
	}
}

func TestContextEndsSeveralConnections(t *testing.T) {
	for name, end := range map[string]func(*Download, context.CancelFunc) error{
		"context": func(d *Download, cancel context.CancelFunc) error {
			cancel()
			_, err := io.Copy(io.Discard, d)
			if !errors.Is(err, context.Canceled) {
				return fmt.Errorf("reading ended with %w", err)
			}
			return d.Close()
		},
		"close":   func(d *Download, _ context.CancelFunc) error { return d.Close() },
		"discard": func(d *Download, _ context.CancelFunc) error { return d.Discard() },
	} {
		t.Run(name, func(t *testing.T) {
			// Nobody ever gets more than the first bytes.
			hang := func(_ int, w http.ResponseWriter, r *http.Request) {
				serve(&hanger{ResponseWriter: w, until: r.Context().Done(), left: 1000}, r, tag, large)
			}
			g := startGate(t, hang)
			c, _ := slowClient(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d, err := c.Open(ctx, spoolFor(t, g.URL))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(d, make([]byte, gateAt)); err != nil {
				t.Fatal(err)
			}
			if err := end(d, cancel); err != nil {
				t.Error(err)
			}
		})
	}
}

// hanger sends some bytes and then nothing more until it is told to end.
type hanger struct {
	http.ResponseWriter
	until <-chan struct{}
	left  int
}

func (h *hanger) Write(p []byte) (int, error) {
	n, err := h.ResponseWriter.Write(p[:min(h.left, len(p))])
	h.left -= n
	if h.left == 0 {
		h.ResponseWriter.(http.Flusher).Flush()
		<-h.until
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Parts are asked for where the file was found, and from the beginning again if it is not there any more.
func TestPartsBehindRedirects(t *testing.T) {
	t.Run("good", func(t *testing.T) {
		s := faultserver.Start(t)
		s.Set("/r", faultserver.Answer{Redirect: "/f"})
		s.Set("/f", largeGood())
		c, j := slowClient(t)
		got, d, err := fetch(t, c, spoolFor(t, s.URL("/r")))
		mustBeLarge(t, got, err, j)
		if n := len(s.Requests("/r")); n != 1 || d.URL() != s.URL("/f") {
			t.Errorf("%d requests of the redirect; found at %s", n, d.URL())
		}
	})
	t.Run("good for one request", func(t *testing.T) {
		g := startGate(t, func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/f" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			serve(w, r, tag, large)
		})
		s := faultserver.Start(t)
		s.Set("/r", faultserver.Answer{Redirect: g.URL + "/f"}, faultserver.Answer{Redirect: g.URL + "/g"})
		c, j := slowClient(t)
		d, start := begin(t, c, spoolFor(t, s.URL("/r")))
		wait(t, d.parallel, onlyLead)
		g.open()
		finish(t, d, start, j)
		if d.Received() != int64(len(large)) {
			t.Errorf("received %d", d.Received())
		}
	})
	t.Run("password", func(t *testing.T) {
		first, second := faultserver.Start(t), faultserver.Start(t)
		first.Set("/r", faultserver.Answer{Redirect: strings.Replace(second.URL("/f"), "127.0.0.1", "localhost", 1)})
		second.Set("/f", largeGood())
		c, j := slowClient(t)
		got, _, err := fetch(t, c, spoolFor(t, strings.Replace(first.URL("/r"), "://", "://user:secret@", 1)))
		mustBeLarge(t, got, err, j)
		if first.Requests("/r")[0].Header.Get("Authorization") == "" {
			t.Error("the password was not sent to its host")
		}
		for _, r := range second.Requests("/f") {
			if r.Header.Get("Authorization") != "" {
				t.Error("the password was sent to another host")
			}
		}
	})
}

// The place that redirects led to is gone, and they lead to another one by then.
func TestMirrorDies(t *testing.T) {
	first, second, redirects := faultserver.Start(t), faultserver.Start(t), faultserver.Start(t)
	cut := largeGood()
	cut.Fault, cut.At = faultserver.Cut, 1<<20
	first.Set("/f", cut, faultserver.Answer{Fault: faultserver.Drop})
	second.Set("/f", largeGood())
	redirects.Set("/r", faultserver.Answer{Redirect: first.URL("/f")}, faultserver.Answer{Redirect: second.URL("/f")})
	c, j := client(t)
	got, _, err := fetch(t, c, Request{URL: redirects.URL("/r")})
	mustBeLarge(t, got, err, j)
}

// dice are thrown by several goroutines.
type dice struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (d *dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(n)
}

// unreliable serves the large file with every other answer spoilt.
func unreliable(d *dice) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch d.roll(8) {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			panic(http.ErrAbortHandler)
		case 2, 3:
			serve(&cutter{ResponseWriter: w, left: 1 + d.roll(3<<20)}, r, tag, large)
		default:
			serve(w, r, tag, large)
		}
	}))
}

// Anything may happen to any of the connections, to the process and to its spool, again and again.
func TestPartsThroughRandomFaults(t *testing.T) {
	for seed := range uint64(6) {
		d := &dice{random: rand.New(rand.NewPCG(seed, 0))}
		s := unreliable(d)
		req := spoolFor(t, s.URL)
		for range 4 {
			readSome(t, d, req, int64(d.roll(len(large))))
			damageSpool(t, d, req.Spool)
		}
		readSome(t, d, req, int64(len(large)))
		s.Close()
	}
}

// readSome reads the first bytes of the large file and gives up the download.
func readSome(t *testing.T, d *dice, req Request, n int64) {
	t.Helper()
	c, j := slowClient(t, func(o *Options) { o.Retries = 50 })
	defer c.Close()
	if d.roll(4) == 0 {
		c.enough = func(rate) bool { return true }
	}
	download, err := c.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.LimitReader(download, n))
	if err := errors.Join(err, download.Close()); err != nil || !bytes.Equal(got, large[:n]) {
		t.Fatalf("got %d of %d bytes, %v; %s", len(got), n, err, j)
	}
}

// damageSpool changes a few bytes of a spool, if there is one.
func damageSpool(t *testing.T, d *dice, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	for range d.roll(4) {
		_, writeErr := f.WriteAt([]byte("damage"), int64(d.roll(len(large))))
		err = errors.Join(err, writeErr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

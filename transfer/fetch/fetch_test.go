package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/fixtures/faultserver"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("BERTH_TEST_FETCH"); url != "" {
		victim(url, os.Getenv("BERTH_TEST_SPOOL"))
	}
	goleak.VerifyTestMain(m)
}

const tag = `"v1"`

// text is a body in which no two stretches are alike.
func text(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		b.WriteString(time.Unix(int64(i)*7919, 0).UTC().Format(time.RFC3339))
	}
	return b.Bytes()[:size]
}

// journal collects what a client logs and how long it would have waited.
type journal struct {
	mu    sync.Mutex
	lines []string
	waits []time.Duration
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// client makes a client that does not wait between attempts.
func client(t *testing.T, change ...func(*Options)) (*Client, *journal) {
	t.Helper()
	j := &journal{}
	o := Options{Retries: 3, StallTimeout: 10 * time.Second, Getenv: func(string) string { return "" }, Log: func(text string) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.lines = append(j.lines, text)
	}}
	for _, f := range change {
		f(&o)
	}
	c := New(o)
	c.sleep = func(ctx context.Context, d time.Duration) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.waits = append(j.waits, d)
		return ctx.Err()
	}
	t.Cleanup(c.Close)
	return c, j
}

// fetch reads a request to its end.
func fetch(t *testing.T, c *Client, req Request) ([]byte, *Download, error) {
	t.Helper()
	d, err := c.Open(t.Context(), req)
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(d)
	return got, d, errors.Join(err, d.Close())
}

// ranges returns the Range headers that a path was asked with.
func ranges(s *faultserver.Server, path string) (list []string) {
	for _, r := range s.Requests(path) {
		list = append(list, r.Header.Get("Range"))
	}
	return list
}

func TestWholeFile(t *testing.T) {
	body := text(100_000)
	modified := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	plain, secure := faultserver.Start(t), faultserver.StartTLS(t)
	for name, s := range map[string]*faultserver.Server{"HTTP/1.1": plain, "HTTP/2.0": secure} {
		t.Run(name, func(t *testing.T) {
			s.Set("/f", faultserver.Answer{Body: body, ETag: tag, Modified: modified, Gzip: true})
			c, _ := client(t, func(o *Options) { o.UserAgent = "test/1"; o.Roots = secureRoots(name, s) })
			got, d, err := fetch(t, c, Request{URL: s.URL("/f")})
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if d.Size() != int64(len(body)) || d.ETag() != tag || !d.LastModified().Equal(modified) || d.NotModified() ||
				d.Received() != d.Size() || d.Resumed() != 0 || d.URL() != s.URL("/f") {
				t.Errorf("download says %d %q %v %d %d %q", d.Size(), d.ETag(), d.LastModified(), d.Received(), d.Resumed(), d.URL())
			}
			r := s.Requests("/f")[0]
			if r.Proto != name || r.Header.Get("User-Agent") != "test/1" || r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("request %+v", r)
			}
		})
	}
}

func TestConnectionCutAtEveryByte(t *testing.T) {
	body := text(64)
	s := faultserver.Start(t)
	c, _ := client(t)
	for at := range len(body) {
		good := faultserver.Answer{Body: body, ETag: tag, Ranges: faultserver.RangesOn}
		bad := good
		bad.Fault, bad.At = faultserver.Cut, int64(at)
		s.Set("/f", bad, good)
		before := s.Sent("/f")
		got, d, err := fetch(t, c, Request{URL: s.URL("/f")})
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("cut at %d: got %q, %v", at, got, err)
		}
		if d.Received() != int64(len(body)) {
			t.Errorf("cut at %d: received %d bytes", at, d.Received())
		}
		if sent := s.Sent("/f") - before; sent != int64(len(body)) {
			t.Errorf("cut at %d: server sent %d bytes", at, sent)
		}
	}
}

func TestCutAgainAndAgainIsProgress(t *testing.T) {
	body := text(50)
	s := faultserver.Start(t)
	c, _ := client(t)
	s.Set("/f", faultserver.Answer{Body: body, ETag: tag, Ranges: faultserver.RangesOn, Fault: faultserver.Cut, At: 1})
	got, _, err := fetch(t, c, Request{URL: s.URL("/f")})
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %q, %v", got, err)
	}
	if n := len(s.Requests("/f")); n != len(body) {
		t.Errorf("%d requests", n)
	}
}

func TestFaults(t *testing.T) {
	body := text(1000)
	on := faultserver.Answer{Body: body, ETag: tag, Ranges: faultserver.RangesOn}
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	with := func(a faultserver.Answer, changes ...func(*faultserver.Answer)) faultserver.Answer {
		for _, f := range changes {
			f(&a)
		}
		return a
	}
	cut := func(a *faultserver.Answer) { a.Fault, a.At = faultserver.Cut, 400 }
	mode := func(m faultserver.Ranges) func(*faultserver.Answer) {
		return func(a *faultserver.Answer) { a.Ranges = m }
	}
	other := func(a *faultserver.Answer) { a.ETag, a.Body = `"v2"`, bytes.ToUpper(body) }
	bare := func(a *faultserver.Answer) { a.ETag = "" }
	weak := func(a *faultserver.Answer) { a.ETag = "W/" + tag }
	dated := func(a *faultserver.Answer) { a.Modified = old }
	// Far enough ahead that the clock cannot pass it while the test runs.
	fresh := func(a *faultserver.Answer) { a.Modified = time.Now().Add(time.Hour) }
	chunked := func(a *faultserver.Answer) { a.Chunked = true }

	tests := []struct {
		name     string
		answers  []faultserver.Answer
		want     error
		requests int
	}{
		{"500 twice, then good", []faultserver.Answer{{Status: 500, Times: 2}, on}, nil, 3},
		{"429 and dropped, then good", []faultserver.Answer{{Status: 429}, {Fault: faultserver.Drop}, on}, nil, 3},
		{"500 for ever", []faultserver.Answer{{Status: 500}}, &StatusError{}, 4},
		{"404", []faultserver.Answer{{Status: 404}}, ErrNotFound, 1},
		{"410", []faultserver.Answer{{Status: 410}}, ErrNotFound, 1},
		{"403", []faultserver.Answer{{Status: 403}}, &StatusError{}, 1},
		{"204", []faultserver.Answer{{Status: 204}}, &StatusError{}, 1},
		{"206 unasked", []faultserver.Answer{{Status: 206}}, errAny, 1},
		{"304 unasked", []faultserver.Answer{{Status: 304}}, errAny, 1},
		{"cut, then 503, then the rest", []faultserver.Answer{with(on, cut), {Status: 503}, on}, nil, 3},
		{"cut, then gone", []faultserver.Answer{with(on, cut), {Status: 404}}, ErrNotFound, 2},
		{"cut, chunked", []faultserver.Answer{with(on, cut, chunked), with(on, chunked)}, nil, 2},
		{"cut, ranges off", []faultserver.Answer{with(on, cut, mode(faultserver.RangesOff)), with(on, mode(faultserver.RangesOff))}, nil, 2},
		{"cut, ranges ignored", []faultserver.Answer{with(on, cut, mode(faultserver.RangesIgnored)), with(on, mode(faultserver.RangesIgnored))}, nil, 2},
		{"cut at the same place for ever, ranges ignored", []faultserver.Answer{with(on, cut, mode(faultserver.RangesIgnored))}, ErrTruncated, 4},
		{"cut, cut earlier where ranges are ignored, then the rest", []faultserver.Answer{
			with(on, cut), with(on, mode(faultserver.RangesIgnored), func(a *faultserver.Answer) { a.Fault, a.At = faultserver.Cut, 100 }), on,
		}, nil, 3},
		{"cut, ranges shifted", []faultserver.Answer{with(on, cut), with(on, mode(faultserver.RangesShifted))}, nil, 3},
		{"cut, ranges unnamed", []faultserver.Answer{with(on, cut), with(on, mode(faultserver.RangesUnnamed))}, nil, 3},
		{"cut, ranges resized", []faultserver.Answer{with(on, cut), with(on, mode(faultserver.RangesResized))}, ErrChanged, 2},
		{"cut, changed", []faultserver.Answer{with(on, cut), with(on, other)}, ErrChanged, 2},
		{"cut, changed, If-Range ignored", []faultserver.Answer{with(on, cut), with(on, other, mode(faultserver.RangesBlind))}, ErrChanged, 2},
		{"cut, shorter now", []faultserver.Answer{with(on, cut), with(on, func(a *faultserver.Answer) { a.Body = body[:300] })}, ErrChanged, 2},
		{"cut, no validator", []faultserver.Answer{with(on, cut, bare), with(on, bare)}, ErrNotResumable, 1},
		{"cut, weak validator", []faultserver.Answer{with(on, cut, weak), with(on, weak)}, ErrNotResumable, 1},
		{"cut, date", []faultserver.Answer{with(on, cut, bare, dated), with(on, bare, dated)}, nil, 2},
		{"cut, weak validator and date", []faultserver.Answer{with(on, cut, weak, dated), with(on, weak, dated)}, nil, 2},
		{"cut, date that is not past", []faultserver.Answer{with(on, cut, bare, fresh), with(on, bare, fresh)}, ErrNotResumable, 1},
		{"cut, validator lost", []faultserver.Answer{with(on, cut), with(on, bare)}, ErrChanged, 2},
		{"cut at once, no validator", []faultserver.Answer{with(on, bare, func(a *faultserver.Answer) { a.Fault = faultserver.Cut }), with(on, bare)}, nil, 2},
		{"cut at once, other size", []faultserver.Answer{
			with(on, bare, func(a *faultserver.Answer) { a.Fault = faultserver.Cut }),
			with(on, bare, func(a *faultserver.Answer) { a.Body = body[1:] }),
		}, ErrChanged, 2},
		{"promises more for ever", []faultserver.Answer{with(on, func(a *faultserver.Answer) { a.Promise = 5 })}, errAny, 2},
		{"promises more, no validator", []faultserver.Answer{with(on, bare, func(a *faultserver.Answer) { a.Promise = 5 })}, ErrNotResumable, 1},
		{"part longer than promised", []faultserver.Answer{with(on, cut), with(on, chunked, func(a *faultserver.Answer) { a.Excess = []byte("x") })}, ErrTooLarge, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := faultserver.Start(t)
			s.Set("/f", tt.answers...)
			c, _ := client(t)
			got, _, err := fetch(t, c, Request{URL: s.URL("/f")})
			switch _, isStatus := tt.want.(*StatusError); {
			case tt.want == nil && (err != nil || !bytes.Equal(got, body)):
				t.Errorf("got %d bytes, %v", len(got), err)
			case tt.want == errAny && err == nil:
				t.Error("no error")
			case isStatus && !isType[*StatusError](err):
				t.Errorf("got %v, want a status", err)
			case tt.want != nil && tt.want != errAny && !isStatus && !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			case !bytes.HasPrefix(body, got):
				t.Errorf("delivered %q", got)
			case err != nil && !strings.Contains(err.Error(), s.URL("/f")):
				t.Errorf("%q does not name the URL", err)
			}
			if list := ranges(s, "/f"); len(list) != tt.requests {
				t.Errorf("%d requests with ranges %q, want %d", len(list), list, tt.requests)
			}
		})
	}
}

// errAny stands for some error that callers do not test.
var errAny = errors.New("any")

func isType[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

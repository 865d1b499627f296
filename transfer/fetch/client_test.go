package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/fixtures/faultserver"
)

func secureRoots(proto string, s *faultserver.Server) *x509.CertPool {
	if proto == "HTTP/1.1" {
		return nil
	}
	return s.Roots()
}

func TestStall(t *testing.T) {
	body := text(1000)
	s := faultserver.Start(t)
	good := faultserver.Answer{Body: body, ETag: tag, Ranges: faultserver.RangesOn}
	bad := good
	bad.Fault, bad.At = faultserver.Stall, 400
	c, j := client(t, func(o *Options) { o.StallTimeout = 100 * time.Millisecond })

	s.Set("/f", bad, good)
	got, _, err := fetch(t, c, Request{URL: s.URL("/f")})
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("stalled once: got %d bytes, %v", len(got), err)
	}
	if !strings.Contains(j.String(), "stalled; trying again") {
		t.Errorf("log: %s", j)
	}
	bad.At = 0
	s.Set("/f", bad)
	if _, _, err := fetch(t, c, Request{URL: s.URL("/f")}); !errors.Is(err, ErrStalled) {
		t.Errorf("stalled for ever: %v", err)
	}
}

func TestStallBeforeTheHeaders(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	c, _ := client(t, func(o *Options) { o.StallTimeout, o.Retries = 50*time.Millisecond, 1 })
	if _, _, err := fetch(t, c, Request{URL: "http://" + listener.Addr().String() + "/f"}); !errors.Is(err, ErrStalled) {
		t.Errorf("got %v", err)
	}
}

func TestSlowReaderIsNotAStall(t *testing.T) {
	now := time.Now()
	fired := make(chan struct{})
	w := watch{floor: minRate, timeout: time.Hour, timer: time.AfterFunc(time.Hour, func() { close(fired) })}
	for range 10 {
		w.begin()
		w.started = now.Add(-time.Minute) // a minute of waiting each
		if w.end(1) != (w.waited >= time.Hour) {
			t.Error("stalled too early")
		}
	}
	if w.waited < 10*time.Minute || w.waited > 11*time.Minute {
		t.Errorf("waited %v", w.waited)
	}
	w.begin()
	if w.end(minRate*3600) || w.waited != 0 {
		t.Error("progress does not count")
	}
	w.begin()
	w.started = now.Add(-2 * time.Hour)
	if !w.end(5) {
		t.Error("a trickle is not a stall")
	}
}

func TestBackoffGrowsAndHearsRetryAfter(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/f", faultserver.Answer{Status: 500, Times: 3},
		faultserver.Answer{Status: 503, Header: http.Header{"Retry-After": {"77"}}}, faultserver.Answer{Body: text(5)})
	c, j := client(t, func(o *Options) { o.Retries, o.BackoffBase = 8, time.Second })
	if _, _, err := fetch(t, c, Request{URL: s.URL("/f")}); err != nil {
		t.Fatal(err)
	}
	if len(j.waits) != 4 || j.waits[3] != 77*time.Second {
		t.Fatalf("waits %v", j.waits)
	}
	for i, d := range j.waits[:3] {
		if base := time.Second << i; d < base/2 || d > base*3/2 {
			t.Errorf("wait %d is %v", i, d)
		}
	}
}

func TestContextEndsWaiting(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/f", faultserver.Answer{Status: 500})
	c, _ := client(t, func(o *Options) { o.BackoffBase = time.Hour })
	asked := make(chan struct{})
	c.sleep = func(ctx context.Context, d time.Duration) error { close(asked); return sleep(ctx, d) }
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the user has had enough")
	go func() { <-asked; cancel(cause) }()
	if _, err := c.Open(ctx, Request{URL: s.URL("/f")}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestSizeLimit(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/huge", faultserver.Answer{Zeros: 10 << 30})
	s.Set("/chunked", faultserver.Answer{Zeros: 2000, Chunked: true})
	s.Set("/fits", faultserver.Answer{Zeros: 1000, Chunked: true})
	c, _ := client(t)
	if _, err := c.Open(t.Context(), Request{URL: s.URL("/huge"), MaxSize: 1 << 30}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("huge: %v", err)
	}
	got, _, err := fetch(t, c, Request{URL: s.URL("/chunked"), MaxSize: 1000})
	if !errors.Is(err, ErrTooLarge) || len(got) > 1000 {
		t.Errorf("chunked: %d bytes, %v", len(got), err)
	}
	if got, d, err := fetch(t, c, Request{URL: s.URL("/fits"), MaxSize: 1000}); err != nil || len(got) != 1000 || d.Size() != -1 {
		t.Errorf("fits: %d bytes, %v", len(got), err)
	}
	s.Set("/headers", faultserver.Answer{Header: http.Header{"X-Long": {strings.Repeat("x", 2*maxHeaderBytes)}}})
	if _, _, err := fetch(t, c, Request{URL: s.URL("/headers")}); err == nil {
		t.Error("endless headers are taken")
	}
}

func TestLongerThanPromisedIsCutAtThePromise(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/f", faultserver.Answer{Body: text(100), ETag: tag, Promise: -40})
	c, _ := client(t)
	if got, _, err := fetch(t, c, Request{URL: s.URL("/f")}); err != nil || !bytes.Equal(got, text(100)[:60]) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNotModified(t *testing.T) {
	modified := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	current := faultserver.Answer{Body: text(10), ETag: tag, Modified: modified}
	ignorant := faultserver.Answer{Body: text(10), Header: http.Header{"Etag": {"W/" + tag}}}
	mute := faultserver.Answer{Status: 304}
	tests := []struct {
		name    string
		answers []faultserver.Answer
		etags   []string
		since   time.Time
		same    bool
		etag    string
	}{
		{"304", []faultserver.Answer{current}, []string{`"v0"`, tag}, time.Time{}, true, tag},
		{"304 for a weak tag", []faultserver.Answer{current}, []string{"W/" + tag}, time.Time{}, true, "W/" + tag},
		{"200 with a known tag", []faultserver.Answer{ignorant}, []string{tag}, time.Time{}, true, tag},
		{"other version", []faultserver.Answer{current}, []string{`"v0"`}, time.Time{}, false, tag},
		{"not newer", []faultserver.Answer{current}, nil, modified, true, tag},
		{"newer", []faultserver.Answer{current}, nil, modified.Add(-time.Second), false, tag},
		{"304 without tag, one known", []faultserver.Answer{mute}, []string{tag}, time.Time{}, true, tag},
		{"304 without tag, two known", []faultserver.Answer{mute, current}, []string{tag, `"v0"`}, time.Time{}, false, tag},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := faultserver.Start(t)
			s.Set("/f", tt.answers...)
			c, _ := client(t)
			got, d, err := fetch(t, c, Request{URL: s.URL("/f"), ETags: tt.etags, ModifiedSince: tt.since})
			if err != nil || d.NotModified() != tt.same || d.ETag() != tt.etag || (len(got) == 0) != tt.same {
				t.Errorf("got %q, %v; %+v", got, err, d)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/loop", faultserver.Answer{Redirect: "/loop"})
	s.Set("/file", faultserver.Answer{Redirect: "file:///etc/passwd"})
	s.Set("/gopher", faultserver.Answer{Redirect: "gopher://127.0.0.1/"})
	s.Set("/f", faultserver.Answer{Body: text(10)})
	for i := range 11 {
		to := "/hop" + string(rune('a'+i+1))
		if i == 10 {
			to = "/f"
		}
		s.Set("/hop"+string(rune('a'+i)), faultserver.Answer{Redirect: to, Status: 301})
	}
	c, _ := client(t)
	for path, want := range map[string]error{
		"/loop": ErrTooManyRedirects, "/hopa": ErrTooManyRedirects, "/hopb": nil, "/file": ErrScheme, "/gopher": ErrScheme,
	} {
		got, d, err := fetch(t, c, Request{URL: s.URL(path)})
		if !errors.Is(err, want) || want == nil && (err != nil || len(got) != 10 || d.URL() != s.URL("/f")) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
	if n := len(s.Requests("/loop")); n != maxRedirects+1 {
		t.Errorf("loop: %d requests", n)
	}
}

func TestErrorsAreReadableAndKeepSecrets(t *testing.T) {
	s, secure := faultserver.Start(t), faultserver.StartTLS(t)
	withUser := func(u string) string { return strings.Replace(u, "://", "://joe:s3cret@", 1) }
	s.Set("/busy", faultserver.Answer{Status: 503})
	s.Set("/away", faultserver.Answer{Redirect: s.URL("/gone")})
	s.Set("/f", faultserver.Answer{Body: text(10)})
	c, j := client(t)
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		secure.URL("/f"): "certificate is not trusted",
		strings.Replace(s.URL("/f"), "http:", "https:", 1): "does not speak TLS",
		"http://" + free.Addr().String() + "/":             "connection refused",
		s.URL("/busy"):                                     "503 (Service Unavailable)",
		s.URL("/away"):                                     "404 (Not Found)",
		"ftp://127.0.0.1/":                                 "unsupported URL scheme",
		"http://[::1":                                      "parse the URL",
	} {
		_, _, err := fetch(t, c, Request{URL: withUser(address)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if strings.Contains(j.String(), "s3cret") {
		t.Errorf("the log shows the password: %s", j)
	}
	for _, r := range s.Requests("/gone") {
		if r.Header.Get("Authorization") == "" {
			t.Error("credentials were not used after a redirect within the host")
		}
	}
	if err := describe(&url.Error{Err: &net.DNSError{Name: "nowhere", IsNotFound: true, Err: "no such host"}}); !strings.HasPrefix(err.Error(), `host "nowhere" is not known`) {
		t.Errorf("got %q", err)
	}
}

func TestProxyOfTheEnvironment(t *testing.T) {
	proxy := faultserver.Start(t)
	proxy.Set("/f", faultserver.Answer{Body: text(10)})
	for _, name := range []string{"http_proxy", "all_proxy", "ALL_PROXY"} {
		c, _ := client(t, func(o *Options) {
			o.Getenv = func(n string) string {
				if n == name {
					return proxy.Addr()
				}
				return ""
			}
		})
		if got, _, err := fetch(t, c, Request{URL: "http://images.invalid/f"}); err != nil || len(got) != 10 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range proxy.Requests("/f") {
		if r.Host != "images.invalid" {
			t.Errorf("proxy was asked for %q", r.Host)
		}
	}
}

func TestNoProxy(t *testing.T) {
	tests := []struct {
		list, url string
		direct    bool
	}{
		{"", "http://a.example/", false},
		{"*", "http://a.example/", true},
		{"example", "http://a.example/", true},
		{".a.example, x", "http://A.EXAMPLE./", true},
		{"*.example", "http://a.example/", true},
		{"b.example,ample", "http://a.example/", false},
		{"a.example:8080", "http://a.example/", false},
		{"a.example:443", "https://a.example/", true},
		{"10.0.0.0/8", "http://10.1.2.3/", true},
		{"10.0.0.0/8", "http://11.1.2.3/", false},
		{"10.1.2.3:80", "http://10.1.2.3/", true},
		{"10.1.2.3", "http://10.1.2.3/", true},
		{"[fe80::1]", "http://[fe80::1]/", true},
		{"fe80::/10", "http://[fe80::1]/", true},
		{"", "http://127.1.1.1/", true},
		{"", "http://[::1]/", true},
		{"", "http://localhost:80/", true},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		p := proxies{func(n string) string { return map[string]string{"no_proxy": tt.list}[n] }}
		if got := p.direct(u); got != tt.direct {
			t.Errorf("no_proxy=%q %s: direct %v", tt.list, tt.url, got)
		}
	}
}

func TestLocalFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "an image.raw")
	body := text(1000)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := client(t)
	link := (&url.URL{Scheme: "file", Path: path}).String()
	var progress atomic.Int64
	got, d, err := fetch(t, c, Request{URL: link, Progress: &progress, Spool: path + ".spool"})
	if err != nil || !bytes.Equal(got, body) || d.Size() != 1000 || d.LastModified().IsZero() || progress.Load() != 1000 {
		t.Errorf("got %d bytes, %v, %+v", len(got), err, d)
	}
	if _, err := os.Stat(path + ".spool"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a local file has a spool: %v", err)
	}
	if _, d, err := fetch(t, c, Request{URL: link, ModifiedSince: time.Now().Add(time.Hour)}); err != nil || !d.NotModified() {
		t.Errorf("not modified: %v", err)
	}
	if _, _, err := fetch(t, c, Request{URL: link, MaxSize: 999}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limit: %v", err)
	}
	if _, _, err := fetch(t, c, Request{URL: link + "x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	for _, bad := range []string{"file:///", "file:///dev/null", "file://elsewhere/x", "file:x"} {
		if _, _, err := fetch(t, c, Request{URL: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if got, ok := LocalPath(link); !ok || got != path {
		t.Errorf("local path %q", got)
	}
}

func TestLocalFileThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	c, _ := client(t)
	for name, size := range map[string]int{"grows": 1500, "shrinks": 500} {
		if err := os.WriteFile(path, text(1000), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := c.Open(t.Context(), Request{URL: "file://" + path})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(d); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

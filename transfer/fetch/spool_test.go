package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/fixtures/faultserver"
	"berth/transfer/fetch/spool"

	"golang.org/x/sys/unix"
)

// body has a size that is a multiple of 16, so that the records of its spool come right behind it.
var body = text(300_000)

// spoolData is where in a spool the data begins.
const spoolData = 4096

func good() faultserver.Answer {
	return faultserver.Answer{Body: body, ETag: tag, Ranges: faultserver.RangesOn}
}

// begun makes a spool with the first n bytes of a file and returns its path.
func begun(t *testing.T, s *faultserver.Server, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), spool.Name(s.URL("/f")))
	s.Set("/f", good())
	c, _ := client(t)
	d, err := c.Open(t.Context(), Request{URL: s.URL("/f"), Spool: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// resume fetches with a spool, checks the content and returns the last request.
func resume(t *testing.T, s *faultserver.Server, req Request, want []byte) (*Download, faultserver.Request) {
	t.Helper()
	c, j := client(t)
	req.URL = s.URL("/f")
	d, err := c.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(d)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, %v; %s", len(got), err, j)
	}
	if err := d.Finish(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(req.Spool); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the spool is still there: %v", err)
	}
	list := s.Requests("/f")
	return d, list[len(list)-1]
}

func TestSpoolResumes(t *testing.T) {
	for _, n := range []int{1, 1000, 299_999, 300_000} {
		s := faultserver.Start(t)
		path := begun(t, s, n)
		var progress atomic.Int64
		d, r := resume(t, s, Request{Spool: path, Progress: &progress}, body)
		if d.Resumed() != int64(n) || progress.Load() != int64(len(body)) || d.Size() != int64(len(body)) || d.ETag() != tag {
			t.Errorf("%d spooled: resumed %d, progress %d", n, d.Resumed(), progress.Load())
		}
		want := int64(max(len(body)-n, 1)) // of a complete file the last byte is asked for
		if r.Sent != want || r.Status != 206 || r.Header.Get("If-Range") != tag {
			t.Errorf("%d spooled: %+v", n, r)
		}
	}
}

// victim is the child that is killed in the middle.
func victim(url, spool string) {
	d, err := New(Options{}).Open(context.Background(), Request{URL: url, Spool: spool})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n, err := io.CopyN(io.Discard, d, 123_456)
	fmt.Println("received", n, err)
	_, err = io.Copy(io.Discard, d)
	fmt.Println("unexpected end", err)
	os.Exit(1)
}

func TestProcessKilled(t *testing.T) {
	s := faultserver.Start(t)
	stalls := good()
	stalls.Fault, stalls.At = faultserver.Stall, 123_456
	s.Set("/f", stalls, good())
	path := filepath.Join(t.TempDir(), "spool")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BERTH_TEST_FETCH="+s.URL("/f"), "BERTH_TEST_SPOOL="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("received 123456 <nil>"))
	_, readErr := io.ReadFull(out, line)
	if err := errors.Join(readErr, cmd.Process.Kill()); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || string(line) != "received 123456 <nil>" {
		t.Fatalf("child said %q and ended with %v", line, err)
	}
	d, r := resume(t, s, Request{Spool: path}, body)
	if d.Resumed() != 123_456 || d.Received() != int64(len(body)-123_456) || r.Sent != d.Received() {
		t.Errorf("resumed %d, received %d, sent %d", d.Resumed(), d.Received(), r.Sent)
	}
}

func TestSpoolThatDoesNotFit(t *testing.T) {
	newBody := bytes.ToUpper(body)
	tests := map[string]faultserver.Answer{
		"changed":                   {Body: newBody, ETag: `"v2"`, Ranges: faultserver.RangesOn},
		"changed, If-Range ignored": {Body: newBody, ETag: `"v2"`, Ranges: faultserver.RangesBlind},
		"shorter, If-Range ignored": {Body: newBody[:100], ETag: `"v2"`, Ranges: faultserver.RangesBlind},
		"no ranges any more":        {Body: newBody, ETag: `"v2"`},
		"no validator any more":     {Body: newBody},
		"ranges are broken":         {Body: newBody, ETag: tag, Ranges: faultserver.RangesShifted},
		"empty now":                 {Body: []byte{}, ETag: `"v2"`, Ranges: faultserver.RangesOn},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			s := faultserver.Start(t)
			path := begun(t, s, 1000)
			s.Set("/f", answer)
			d, _ := resume(t, s, Request{Spool: path}, answer.Body)
			if d.Resumed() != 0 {
				t.Errorf("%d bytes of the old version were used", d.Resumed())
			}
		})
	}
}

func TestSpoolOfAnOlderVersionIsDroppedWhenNothingChanged(t *testing.T) {
	s := faultserver.Start(t)
	path := begun(t, s, 1000)
	s.Set("/f", faultserver.Answer{Body: body, ETag: `"v0"`, Ranges: faultserver.RangesOn})
	if d, _ := resume(t, s, Request{Spool: path, ETags: []string{`"v0"`}}, nil); !d.NotModified() || d.ETag() != `"v0"` {
		t.Errorf("%+v", d)
	}
}

func TestDamagedSpool(t *testing.T) {
	flip := func(at int64) func(*testing.T, *os.File, int64) {
		return func(t *testing.T, f *os.File, size int64) {
			if at < 0 {
				at += size
			}
			var b [1]byte
			if _, err := f.ReadAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x55
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]func(*testing.T, *os.File, int64){
		"torn": func(t *testing.T, f *os.File, size int64) { truncate(t, f, size-7) },
		"zeros at the end": func(t *testing.T, f *os.File, size int64) {
			truncate(t, f, size-500)
			truncate(t, f, size+5000)
		},
		"last byte":     flip(-1),
		"first byte":    flip(spoolData),
		"a record":      flip(-5),
		"all records":   func(t *testing.T, f *os.File, _ int64) { truncate(t, f, spoolData+int64(len(body))) },
		"magic":         flip(3),
		"header":        flip(20),
		"half a header": func(t *testing.T, f *os.File, _ int64) { truncate(t, f, 2000) },
		"empty":         func(t *testing.T, f *os.File, _ int64) { truncate(t, f, 0) },
		"garbage behind": func(t *testing.T, f *os.File, size int64) {
			if _, err := f.WriteAt(bytes.Repeat([]byte{7, 0, 0, 0}, 100), size); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			s := faultserver.Start(t)
			path := begun(t, s, 200_000)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			damage(t, f, info.Size())
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			d, _ := resume(t, s, Request{Spool: path}, body)
			t.Logf("resumed %d", d.Resumed())
		})
	}
}

func truncate(t *testing.T, f *os.File, size int64) {
	t.Helper()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// After a damaged record the spool goes on from there, so that it can be used once more.
func TestDamagedSpoolIsMended(t *testing.T) {
	s := faultserver.Start(t)
	path := begun(t, s, 200_000)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), spoolData+150_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c, _ := client(t)
	got, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: path})
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if d, _ := resume(t, s, Request{Spool: path}, body); d.Resumed() != int64(len(body)) {
		t.Errorf("resumed %d", d.Resumed())
	}
}

func TestSpoolOfAnother(t *testing.T) {
	s := faultserver.Start(t)
	path := begun(t, s, 1000)
	s.Set("/g", good())
	c, j := client(t)
	got, d, err := fetch(t, c, Request{URL: s.URL("/g"), Spool: path})
	if err != nil || !bytes.Equal(got, body) || d.Resumed() != 0 {
		t.Errorf("other URL: %d bytes, %v", len(got), err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	got, d, err = fetch(t, c, Request{URL: s.URL("/g"), Spool: path})
	if err != nil || !bytes.Equal(got, body) || d.Resumed() != 0 || !strings.Contains(j.String(), "another download") {
		t.Errorf("locked: %d bytes, %v; %s", len(got), err, j)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the other's spool is gone: %v", err)
	}
}

func TestNoSpoolWhereNothingCanBeResumed(t *testing.T) {
	s := faultserver.Start(t)
	c, _ := client(t)
	for name, answer := range map[string]faultserver.Answer{
		"no validator": {Body: body, Ranges: faultserver.RangesOn},
		"weak":         {Body: body, ETag: "W/" + tag, Ranges: faultserver.RangesOn},
		"no ranges":    {Body: body, ETag: tag},
		"no size":      {Body: body, ETag: tag, Ranges: faultserver.RangesOn, Chunked: true},
	} {
		path := filepath.Join(t.TempDir(), "spool")
		s.Set("/f", answer)
		d, err := c.Open(t.Context(), Request{URL: s.URL("/f"), Spool: path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there is a spool", name)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSpoolKeepsWhatADeadServerLeft(t *testing.T) {
	s := faultserver.Start(t)
	path := begun(t, s, 1000)
	s.Set("/f", faultserver.Answer{Status: 503})
	c, _ := client(t)
	if _, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: path}); err == nil {
		t.Fatal("no error")
	}
	s.Set("/f", good())
	if d, _ := resume(t, s, Request{Spool: path}, body); d.Resumed() != 1000 {
		t.Errorf("resumed %d", d.Resumed())
	}
}

func TestSpoolGoesWhenTheFileChangesInTheMiddle(t *testing.T) {
	s := faultserver.Start(t)
	path := filepath.Join(t.TempDir(), "spool")
	cut, other := good(), good()
	cut.Fault, cut.At = faultserver.Cut, 1000
	other.ETag = `"v2"`
	s.Set("/f", cut, other)
	c, _ := client(t)
	if _, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: path}); !errors.Is(err, ErrChanged) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the spool is still there")
	}
}

func TestSpoolOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s := faultserver.Start(t)
	s.Set("/f", good())
	c, j := client(t)
	got, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: filepath.Join(dir, "spool")})
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
	if log := j.String(); strings.Count(log, "cannot be resumed") != 1 || !strings.Contains(log, "no space left") {
		t.Errorf("log: %s", log)
	}
}

func TestSpoolNeverFollowsALink(t *testing.T) {
	s := faultserver.Start(t)
	s.Set("/f", good())
	dir := t.TempDir()
	victim, spool := filepath.Join(dir, "victim"), filepath.Join(dir, "spool")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, spool)); err != nil {
		t.Fatal(err)
	}
	c, _ := client(t)
	if got, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: spool}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("the file behind the link is %q, %v", got, err)
	}
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(t, c, Request{URL: s.URL("/f"), Spool: spool}); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(victim); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made behind a dangling link: %v", err)
	}
}

func FuzzResponseHeaders(f *testing.F) {
	f.Add("bytes 0-1/2", `"a"`, "Mon, 23 Nov 2026 22:18:19 GMT", "10")
	f.Add("bytes 5-9/*", `W/"a"`, "", "Mon, 23 Nov 2026 22:18:19 GMT")
	f.Add("bytes 9-5/+3", `"`, "x", "-1")
	f.Add("bytes 0-9223372036854775807/9223372036854775807", "", "", "99999999999999999999")
	f.Fuzz(func(t *testing.T, contentRange, etag, modified, retry string) {
		first, last, total, ok := parseContentRange(contentRange)
		if ok && (first < 0 || last < first || total != -1 && total <= last) {
			t.Errorf("%q is taken for %d-%d/%d", contentRange, first, last, total)
		}
		e := entityOf(http.Header{"Etag": {etag}, "Last-Modified": {modified}, "Date": {modified}}, total)
		if strings.ContainsAny(e.ETag+e.Modified, "\r\n\x00") {
			t.Errorf("validators %q %q", e.ETag, e.Modified)
		}
		if d := parseRetryAfter(retry, time.Unix(0, 0)); d < 0 || d > maxRetryAfter {
			t.Errorf("retry after %v", d)
		}
	})
}

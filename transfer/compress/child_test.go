package compress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer/compress"
)

// fakeXZ returns tools whose xz answers the question for its version and then
// does what the script says.
func fakeXZ(t *testing.T, version, script string) compress.Tools {
	t.Helper()
	dir := t.TempDir()
	answer := "exit 1"
	if version != "" {
		answer = "echo XZ_VERSION=" + version + "; exit"
	}
	text := "#!/bin/sh\nif [ \"$2\" = --version ]; then " + answer + "; fi\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xz"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return compress.Tools{Dirs: []string{dir}}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestReaderReportsHowChildEnded(t *testing.T) {
	for kind, args := range map[string][]string{
		"whole":     {"-0", "-T1", "-c"},
		"in pieces": {"-0", "-T2", "--block-size=1048576", "-c"},
	} {
		stream := by("xz", args...)(t, payload(3<<20))
		t.Run(kind, func(t *testing.T) { testHowChildEnded(t, stream) })
	}
}

func testHowChildEnded(t *testing.T, stream []byte) {
	for name, test := range map[string]struct{ script, want string }{
		"message and status": {"echo broken heart >&2; exit 3", "broken heart (exit status 3)"},
		"status alone":       {"exit 4", "exit status 4"},
		"killed":             {"kill -9 $$", "signal: killed"},
		"after output":       {"head -c 100000 /dev/zero; echo too much >&2; exit 1", "too much"},
		"very long message":  {"head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1", "xxxxx"},
	} {
		t.Run(name, func(t *testing.T) {
			tools := fakeXZ(t, "50040022", test.script)
			before := openFiles(t)
			_, _, err := decode(t, tools, bytes.NewReader(stream))
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 4000 {
				t.Errorf("got error %.200v, want one with %q", err, test.want)
			}
			if errors.Is(err, compress.ErrCorrupt) {
				t.Error("a failure of the program is taken for damaged data")
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d files were open before, %d after", before, after)
			}
		})
	}
}

// An xz that does not tell its version, such as that of busybox, is not used.
func TestReaderWantsVersionOfXZ(t *testing.T) {
	data := payload(100_000)
	stream := by("xz", "-c")(t, data)
	for name, test := range map[string]struct{ version, script string }{
		"known":   {"50040022", "exec /usr/bin/xz \"$@\""},
		"unknown": {"", "exit 9"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := decode(t, fakeXZ(t, test.version, test.script), bytes.NewReader(stream))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, error %v", len(got), err)
			}
		})
	}
}

// Settings of the user must not reach the child.
func TestReaderHidesEnvironment(t *testing.T) {
	t.Setenv("XZ_OPT", "--format=raw")
	t.Setenv("XZ_DEFAULTS", "--memlimit=1KiB")
	data := payload(1000)
	got, _, err := decode(t, compress.HostTools(), bytes.NewReader(by("env", "-u", "XZ_OPT", "-u", "XZ_DEFAULTS", "xz", "-c")(t, data)))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, error %v", len(got), err)
	}
}

func TestReaderEndsWithContext(t *testing.T) {
	cause := errors.New("cancelled by hand")
	ctx, cancel := context.WithCancelCause(t.Context())
	stream := by("xz", "-0", "-c")(t, sparse())
	d, err := compress.HostTools().NewReader(ctx, bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	cancel(cause)
	if _, err := io.Copy(io.Discard, d); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderClosesWhileChildWaitsForData(t *testing.T) {
	stream := by("xz", "-c")(t, payload(5000))
	src, feed := io.Pipe()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = feed.Write(stream[:len(stream)/2])
	}()
	before := openFiles(t)
	d, err := compress.HostTools().NewReader(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	<-fed
	// The owner of the source ends it, then closes the Reader.
	if err := feed.CloseWithError(errors.New("given up")); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d after", before, after)
	}
}

// A program that neither reads nor writes is ended.
func TestReaderEndsHungChild(t *testing.T) {
	tools := fakeXZ(t, "50040022", "exec sleep 1000")
	for kind, args := range map[string][]string{
		"whole":     {"-0", "-T1", "-c"},
		"in pieces": {"-0", "-T2", "--block-size=1048576", "-c"},
	} {
		t.Run(kind, func(t *testing.T) {
			stream := by("xz", args...)(t, payload(30<<20))
			d, err := tools.NewReader(t.Context(), bytes.NewReader(stream))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			if d, err = tools.NewReader(ctx, bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			cause := errors.New("given up")
			cancel(cause)
			if _, err := d.Read(make([]byte, 1)); !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A child that fails is reported even while the source has nothing to give.
func TestReaderReportsDeadChildAtOnce(t *testing.T) {
	tools := fakeXZ(t, "50040022", "exit 5")
	stream := by("xz", "-T2", "-c")(t, payload(100_000))
	src, feed := io.Pipe()
	defer feed.Close()
	go func() { _, _ = feed.Write(stream[:100]) }()
	d, err := tools.NewReader(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "exit status 5") {
		t.Errorf("got %v", err)
	}
	_ = feed.Close()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderKeepsErrorThatComesWithLastByte(t *testing.T) {
	cause := errors.New("digest differs")
	stream := by("xz", "-c")(t, payload(5000))
	src := io.MultiReader(bytes.NewReader(stream), iotest.ErrReader(cause))
	if _, _, err := decode(t, compress.HostTools(), iotest.DataErrReader(src)); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

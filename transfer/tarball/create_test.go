package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func namesIn(t *testing.T, archive []byte) []string {
	t.Helper()
	var names []string
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// TestCreateIsDeterministic packs two trees that were made in different order.
func TestCreateIsDeterministic(t *testing.T) {
	var archives [][]byte
	names := []string{"b/2", "b/1", "a", "c/z/z", "c-d", "c/a"}
	for range 2 {
		slices.Reverse(names)
		root := t.TempDir()
		b := builder{t, root}
		for _, name := range names {
			b.file(name, 700)
			b.touch(name, 1000, 10)
		}
		for _, dir := range []string{"b", "c/z", "c", "."} {
			b.touch(dir, 1000, 10)
		}
		archives = append(archives, createFrom(t, root, CreateOptions{}))
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("same tree, different archives")
	}
	want := []string{"./", "./a", "./b/", "./b/1", "./b/2", "./c/", "./c/a", "./c/z/", "./c/z/z", "./c-d"}
	if got := namesIn(t, archives[0]); !slices.Equal(got, want) {
		t.Errorf("order is %q, want %q", got, want)
	}
	if len(archives[0])%512 != 0 || !bytes.HasSuffix(archives[0], make([]byte, 1024)) {
		t.Error("archive does not end in two zero blocks")
	}
}

// TestSocketsAndFIFOsAreLeftOut also shows that no FIFO is opened, which would wait for ever.
func TestSocketsAndFIFOsAreLeftOut(t *testing.T) {
	root := t.TempDir()
	b := builder{t, root}
	b.must(unix.Mkfifo(b.path("fifo"), 0o600))
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", b.path("socket"))
	b.must(err)
	defer l.Close()
	b.file("file", 1)
	var warned []string
	archive := createFrom(t, root, CreateOptions{Warn: func(entry string, _ error) { warned = append(warned, entry) }})
	if got := namesIn(t, archive); !slices.Equal(got, []string{"./", "./file"}) {
		t.Errorf("entries %q", got)
	}
	if !slices.Equal(warned, []string{"./fifo", "./socket"}) {
		t.Errorf("warned about %q", warned)
	}
}

// TestMountsAreNotEntered packs the directory that something is mounted on, and nothing in it.
func TestMountsAreNotEntered(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	b := builder{t, root}
	b.file("mnt/below", 1)
	b.file("file", 1)
	b.file("bound", 1)
	for target, source := range map[string]string{"mnt": "", "bound": b.path("file")} {
		kind, flags := "tmpfs", uintptr(0)
		if source != "" {
			kind, flags = "", unix.MS_BIND
		}
		if err := unix.Mount(source, b.path(target), kind, flags, ""); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() { b.must(unix.Unmount(b.path(target), 0)) })
	}
	b.file("mnt/above", 1)
	var warned []string
	archive := createFrom(t, root, CreateOptions{Warn: func(entry string, _ error) { warned = append(warned, entry) }})
	if got := namesIn(t, archive); !slices.Equal(got, []string{"./", "./file", "./mnt/"}) {
		t.Errorf("entries %q", got)
	}
	if !slices.Equal(warned, []string{"./bound"}) {
		t.Errorf("warned about %q", warned)
	}
}

// onWrite calls a function when the archive's bytes reach it for the first time.
type onWrite struct {
	buf  bytes.Buffer
	call func()
}

func (w *onWrite) Write(p []byte) (int, error) {
	if w.call != nil {
		w.call()
		w.call = nil
	}
	return w.buf.Write(p)
}

// TestTreeChangesWhilePacked changes a file after its header was written, and removes another that is still to come.
func TestTreeChangesWhilePacked(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b builder)
		want   error
		warned string
	}{
		"grows":   {func(b builder) { b.must(os.Truncate(b.path("a"), 5<<20)) }, nil, "./a"},
		"shrinks": {func(b builder) { b.must(os.Truncate(b.path("a"), 300<<10)) }, ErrChanged, ""},
		"vanishes": {
			func(b builder) { b.must(os.Remove(b.path("gone"))) }, nil, "./gone",
		},
		"becomes a link": {
			func(b builder) {
				b.must(os.RemoveAll(b.path("gone-dir")))
				b.must(os.Symlink("/etc", b.path("gone-dir")))
			}, nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := builder{t, t.TempDir()}
			b.file("a", 1<<20)
			b.file("gone", 10)
			b.file("gone-dir/x", 10)
			dir, err := os.Open(b.root)
			b.must(err)
			defer dir.Close()
			w := &onWrite{call: func() { test.change(b) }}
			var warned []string
			err = Create(t.Context(), w, dir, CreateOptions{Warn: func(entry string, _ error) { warned = append(warned, entry) }})
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if got := strings.Join(warned, " "); got != test.warned {
				t.Errorf("warned about %q, want %q", got, test.warned)
			}
			if err == nil {
				target := mkdir(t, t.TempDir(), "target")
				b.must(extractInto(t, target, w.buf.Bytes(), ExtractOptions{}))
				st, err := os.Stat(filepath.Join(target, "a"))
				b.must(err)
				if st.Size() != 1<<20 {
					t.Errorf("a has %d bytes", st.Size())
				}
			}
		})
	}
}

func TestCreateReportsItsDestination(t *testing.T) {
	b := builder{t, t.TempDir()}
	b.file("a", 1<<20)
	dir, err := os.Open(b.root)
	b.must(err)
	defer dir.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	b.must(err)
	defer full.Close()
	if err := Create(t.Context(), full, dir, CreateOptions{}); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), `pack "./a": write archive`) {
		t.Errorf("got %v", err)
	}
}

// TestNamesThatAreNotUTF8 keeps bytes as they are.
func TestNamesThatAreNotUTF8(t *testing.T) {
	b := builder{t, t.TempDir()}
	b.file("latin1-\xe9\xff", 1)
	b.must(os.Symlink("target-\xfe", b.path("link-\xe9")))
	target := mkdir(t, t.TempDir(), "target")
	b.must(os.Chmod(target, 0o755))
	archive := createFrom(t, b.root, CreateOptions{})
	b.must(extractInto(t, target, archive, ExtractOptions{}))
	diffTrees(t, snapshot(t, b.root), snapshot(t, target))
	other := mkdir(t, t.TempDir(), "other")
	b.must(os.Chmod(other, 0o755))
	requireTool(t, "tar")
	feed(t, archive, append(gnuExtract, other)...)
	diffTrees(t, snapshot(t, b.root), snapshot(t, other))
}

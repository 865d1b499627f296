package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

func TestLimits(t *testing.T) {
	small := hostile(t, regularAt("a"), regularAt("b"))
	big := hostile(t, tar.Header{Name: "big", Size: 4})
	big = patched(t, big, "00000000004", "77777777777")
	for name, test := range map[string]struct {
		archive []byte
		limits  Limits
	}{
		"payload, promised": {big, Limits{Bytes: 1 << 20}},
		"payload, default":  {hostilePAXSize(t, "99999999999999"), Limits{}},
		"bytes":             {small, Limits{Bytes: int64(len(small)) - 1}},
		"garbage after end": {append(append([]byte{}, small...), make([]byte, 1<<20)...), Limits{Bytes: 1 << 20}},
		"entries":           {small, Limits{Entries: 1}},
		"records": {
			hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{"BERTH.x": strings.Repeat("x", 2000)}}),
			Limits{Records: 1000},
		},
		"records, default": {manyRecords(t, 1<<20), Limits{}},
		"attributes": {
			hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{
				"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "2",
			}}),
			Limits{Xattrs: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if err := h.attack(t, test.archive, test.limits); !errors.Is(err, ErrLimit) {
				t.Errorf("got %v", err)
			}
		})
	}
	h := newHost(t)
	if err := h.attack(t, small, Limits{Bytes: int64(len(small)), Entries: 2}); err != nil {
		t.Errorf("archive that just fits: %v", err)
	}
}

// manyRecords describes one entry with an attribute of the given size.
func manyRecords(t testing.TB, size int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := pax.NewWriter(&buf)
	h := &pax.Header{Name: "x", Type: pax.TypeRegular, Xattrs: []pax.Xattr{{Name: "user.x", Value: make([]byte, size)}}}
	if err := errors.Join(w.WriteHeader(h), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// hostilePAXSize promises a size that the header block has no room for.
func hostilePAXSize(t testing.TB, size string) []byte {
	t.Helper()
	key := "BERTH.s=" + strings.Repeat("s", len(size))
	archive := hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{"BERTH.s": strings.Repeat("s", len(size))}})
	return patched(t, archive, key, "size="+strings.Repeat("0", len(key)-len(size)-5)+size)
}

// sparseArchive is a sparse file in GNU's form 1.0 with the given map in front of the data.
func sparseArchive(t testing.TB, realSize, sparseMap string, data int) []byte {
	t.Helper()
	body := append([]byte(sparseMap), make([]byte, -len(sparseMap)&511)...)
	body = append(body, bytes.Repeat([]byte{'d'}, data)...)
	key := func(name string) string { return strings.Replace(name, "GNU.", "gnu.", 1) }
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	h := &tar.Header{
		Name: "sparse", Typeflag: tar.TypeReg, Size: int64(len(body)), Uid: os.Getuid(), Gid: os.Getgid(),
		PAXRecords: map[string]string{
			key("GNU.sparse.major"): "1", key("GNU.sparse.minor"): "0",
			key("GNU.sparse.name"): "sparse", key("GNU.sparse.realsize"): realSize,
		},
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return patched(t, buf.Bytes(), "gnu.sparse", "GNU.sparse")
}

func TestSparseMaps(t *testing.T) {
	h := newHost(t)
	if err := h.attack(t, sparseArchive(t, "8192", "1\n4096\n512\n", 512), Limits{}); err != nil {
		t.Fatalf("good map: %v", err)
	}
	for name, test := range map[string]struct {
		size, sparseMap string
		want            error
	}{
		"giant count":       {"8192", "999999999999\n0\n0\n", ErrLimit},
		"count past entry":  {"8192", "500\n4096\n512\n", ErrFormat},
		"overflow":          {"8192", "1\n99999999999999999999\n512\n", ErrFormat},
		"past the end":      {"4096", "1\n4096\n512\n", ErrFormat},
		"wraps around":      {"8192", "1\n9223372036854775807\n512\n", ErrFormat},
		"overlap":           {"8192", "2\n0\n512\n0\n512\n", ErrFormat},
		"more than stored":  {"8192", "1\n0\n1024\n", ErrFormat},
		"negative":          {"8192", "1\n-1\n512\n", ErrFormat},
		"not a number":      {"8192", "x\n", ErrFormat},
		"negative realsize": {"-1", "1\n0\n512\n", ErrFormat},
		"beyond the kernel": {"9223372036854775807", "1\n0\n512\n", unix.EFBIG},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, test.want, func(host) []byte { return sparseArchive(t, test.size, test.sparseMap, 512) })
		})
	}
}

func TestTruncatedArchiveIsRefused(t *testing.T) {
	archive := hostile(t, directoryAt("dir"), regularAt("dir/file"), tar.Header{Name: strings.Repeat("n", 120)})
	for cut := range len(archive) - 1024 {
		if cut%512 != 0 && cut%97 != 0 {
			continue
		}
		h := newHost(t)
		if err := h.attack(t, archive[:cut], Limits{}); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	// One zero block says that the end is meant.
	h := newHost(t)
	if err := h.attack(t, archive[:len(archive)-512], Limits{}); err != nil {
		t.Errorf("one zero block: %v", err)
	}
}

func TestGarbageAfterTheEndIsReadAndIgnored(t *testing.T) {
	h := newHost(t)
	archive := append(hostile(t, regularAt("x")), bytes.Repeat([]byte("garbage"), 100_000)...)
	dir, err := os.Open(h.tree)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r := bytes.NewReader(archive)
	if err := Extract(t.Context(), r, dir, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.Len() != 0 {
		t.Errorf("%d bytes were not read", r.Len())
	}
}

func TestSourceErrorIsKept(t *testing.T) {
	cause := errors.New("checksum of the stream is wrong")
	for _, at := range []int{0, 100, 700, 1500, 3000} {
		archive := hostile(t, regularAt("x"))
		h := newHost(t)
		dir, err := os.Open(h.tree)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		r := io.MultiReader(bytes.NewReader(archive[:min(at, len(archive))]), failing{cause})
		if err := Extract(t.Context(), r, dir, ExtractOptions{}); !errors.Is(err, cause) {
			t.Errorf("failure at %d: got %v", at, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestGarbageIsNotAnArchive(t *testing.T) {
	refused(t, ErrFormat, func(host) []byte { return bytes.Repeat([]byte("not a tar archive\n"), 100) })
	refused(t, ErrTruncated, func(host) []byte { return nil })
}

package importd_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sums is a SHA256SUMS that lists one file.
func sums(name string, content []byte) []byte {
	return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(content), name)
}

func pullTar(url string) importd.Request {
	return importd.Request{Kind: importd.PullTar, Remote: url, Verify: importd.VerifyNo}
}

func TestPullTar(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	payload := noise(3 << 20)
	archive := gzipped(t, tree(t, payload))
	server.Set("/d/foo.tar.gz", faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn})
	server.Set("/d/SHA256SUMS", faultserver.Answer{Body: sums("foo.tar.gz", archive)})
	r := pullTar(server.URL("/d/foo.tar.gz"))
	r.Verify = importd.VerifyChecksum
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if got := h.entries(); !slices.Equal(got, []string{"foo"}) {
		t.Errorf("the image root has %q", got)
	}
	if h.read("foo", "etc/os-release") != "ID=test\n" || h.read("foo", "usr/payload0") != string(payload) {
		t.Error("the image has other content than the archive")
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(h.root, "foo/etc/os-release"), &st); err != nil || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
	if err := h.do(r); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("second pull: %v, want that it exists", err)
	}
	r.Force = true
	if err := h.do(r); err != nil {
		t.Errorf("second pull with force: %v", err)
	}
}

// What was kept must stand for the download without a byte of it, and a copy
// that the checksums do not know must not.
func TestPullKeptCopy(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t)
	server.Set("/foo.tar", faultserver.Answer{Body: archive, ETag: `"1"`})
	server.Set("/foo.tar.sha256", faultserver.Answer{Body: sums("foo.tar", archive)})
	r := pullTar(server.URL("/foo.tar"))
	r.KeepDownload, r.Verify = true, importd.VerifyChecksum
	for _, name := range []string{"a", "b"} {
		r.Local = name
		if err := h.do(r); err != nil {
			t.Fatalf("pull %s: %v", name, err)
		}
		if h.read(name, "etc/os-release") != "ID=test\n" {
			t.Errorf("image %s is not what was pulled", name)
		}
	}
	if sent := server.Sent("/foo.tar"); sent != int64(len(archive)) {
		t.Errorf("%d bytes were sent for two pulls of %d", sent, len(archive))
	}
	server.Set("/foo.tar.sha256", faultserver.Answer{Body: sums("foo.tar", []byte("other"))})
	r.Local = "c"
	if err := h.do(r); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("kept copy against other checksums: %v", err)
	}
	if _, err := h.store.Find(t.Context(), images.ClassMachine, "c"); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("image c: %v", err)
	}
}

// A server that sends no ETag must not make the second pull fail.
func TestPullKeptWithoutETag(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t)})
	r := pullTar(server.URL("/foo.tar"))
	r.KeepDownload = true
	for _, r.Local = range []string{"a", "b"} {
		if err := h.do(r); err != nil {
			t.Errorf("pull %s: %v", r.Local, err)
		}
	}
}

func TestPullNoLocal(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t), ETag: `"x"`})
	r := pullTar(server.URL("/foo.tar"))
	r.Local, r.KeepDownload = importd.NoLocal, true
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if got := h.entries(); len(got) != 1 || !strings.HasPrefix(got[0], ".tar-http:") {
		t.Errorf("the image root has %q", got)
	}
}

func TestPullRawWithNeighbours(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	disk := append(make([]byte, 1<<20), noise(100_000)...)
	server.Set("/disk.raw", faultserver.Answer{Body: disk})
	server.Set("/disk.nspawn", faultserver.Answer{Body: []byte("[Exec]\nBoot=yes\n")})
	server.Set("/disk.roothash", faultserver.Answer{Body: []byte("not in the list\n")})
	server.Set("/SHA256SUMS", faultserver.Answer{Body: slices.Concat(
		sums("disk.raw", disk), sums("disk.nspawn", []byte("[Exec]\nBoot=yes\n")))})
	r := importd.Request{Kind: importd.PullRaw, Remote: server.URL("/disk.raw"), Verify: importd.VerifyChecksum, ReadOnly: true}
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if got := h.entries(); !slices.Equal(got, []string{"disk.nspawn", "disk.raw"}) {
		t.Errorf("the image root has %q", got)
	}
	if h.read("disk.raw") != string(disk) {
		t.Error("the disk has other content")
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(h.root, "disk.raw"), &st); err != nil || st.Mode&0o222 != 0 || st.Blocks*512 > 300_000 {
		t.Errorf("mode %o, %d blocks, %v: want read-only and sparse", st.Mode, st.Blocks, err)
	}
}

// A digest without a name vouches for the image and for nothing beside it.
func TestPullBareDigest(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t)
	server.Set("/foo.tar", faultserver.Answer{Body: archive})
	server.Set("/foo.tar.sha256", faultserver.Answer{Body: fmt.Appendf(nil, "%X", sha256.Sum256(archive))})
	server.Set("/foo.nspawn", faultserver.Answer{Body: []byte("[Exec]\n")})
	r := pullTar(server.URL("/foo.tar"))
	r.Verify = importd.VerifyChecksum
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if got := h.entries(); !slices.Equal(got, []string{"foo"}) {
		t.Errorf("the image root has %q", got)
	}
}

// Every connection of a running worker is cut, and nothing starts over.
func TestPullGoesOnAfterCuts(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t, noise(4<<20))
	server.Set("/foo.tar", faultserver.Answer{
		Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn, Fault: faultserver.Cut, At: 1 << 20, Times: 3,
	}, faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn})
	if err := h.do(pullTar(server.URL("/foo.tar"))); err != nil {
		t.Fatal(err)
	}
	if sent := server.Sent("/foo.tar"); sent > int64(len(archive))+1<<20 {
		t.Errorf("%d bytes were sent for %d", sent, len(archive))
	}
	if got := h.entries(); !slices.Equal(got, []string{"foo"}) {
		t.Errorf("the image root has %q", got)
	}
}

// A worker that is killed leaves only its spool, and the next pull fetches only
// the rest.
func TestPullAfterKill(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t, noise(8<<20))
	half := int64(len(archive) / 2)
	server.Set("/foo.tar",
		faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn, Fault: faultserver.Stall, At: half},
		faultserver.Answer{Body: archive, ETag: `"1"`, Ranges: faultserver.RangesOn})
	r := pullTar(server.URL("/foo.tar"))
	transfer := h.start(r)
	h.waitProgress(transfer.ID(), 0.4)
	for range 4 {
		if err := h.manager.Cancel(transfer.ID()); err != nil && !errors.Is(err, importd.ErrNoSuchTransfer) {
			t.Fatal(err)
		}
	}
	if err := transfer.Err(); !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("killed transfer: %v", err)
	}
	h.mustBeEmpty()
	before := server.Sent("/foo.tar")
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if rest := server.Sent("/foo.tar") - before; rest > int64(len(archive))-half+1<<20 {
		t.Errorf("the second pull fetched %d of %d bytes", rest, len(archive))
	}
	if got := h.entries(); !slices.Equal(got, []string{"foo"}) {
		t.Errorf("the image root has %q", got)
	}
}

// waitProgress waits until a transfer is at least as far as share.
func (h *host) waitProgress(id uint32, share float64) {
	h.t.Helper()
	for {
		e, err := h.events.Next(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		if e.Transfer.ID != id {
			continue
		}
		if e.Kind == importd.EventProgress && e.Transfer.Progress >= share {
			return
		}
		if e.Kind == importd.EventRemoved {
			h.t.Fatalf("transfer ended early: %v", e.Err)
		}
	}
}

func TestPullRefusals(t *testing.T) {
	server := faultserver.Start(t)
	archive := gzipped(t, tree(t, noise(100_000)))
	server.Set("/good.tar.gz", faultserver.Answer{Body: archive})
	server.Set("/good.tar.gz.sha256", faultserver.Answer{Body: sums("good.tar.gz", []byte("other"))})
	server.Set("/unlisted.tar.gz", faultserver.Answer{Body: archive})
	server.Set("/unlisted.tar.gz.sha256", faultserver.Answer{Body: sums("other.tar.gz", archive)})
	server.Set("/unsigned.tar.gz", faultserver.Answer{Body: archive})
	server.Set("/unsigned.tar.gz.sha256", faultserver.Answer{Body: sums("unsigned.tar.gz", archive)})
	server.Set("/bare.tar.gz", faultserver.Answer{Body: archive})
	server.Set("/cut.tar.gz", faultserver.Answer{Body: archive[:len(archive)/2]})
	server.Set("/cut.tar", faultserver.Answer{Body: tree(t)[:1500]})
	// 10 GiB of zeros in as many members as make it quick to build.
	bomb := bytes.Repeat(gzipped(t, make([]byte, 64<<20)), 160)
	server.Set("/bomb.tar.gz", faultserver.Answer{Body: bomb})
	server.Set("/text.tar", faultserver.Answer{Body: []byte("<html>not an archive, but long enough to look at</html>")})
	server.Set("/loop.tar", faultserver.Answer{Redirect: "/loop.tar"})
	server.Set("/error.tar", faultserver.Answer{Status: 403, Body: []byte("no")})
	for _, test := range []struct {
		name, path string
		verify     importd.Verify
		want       string
	}{
		{"wrong checksum", "/good.tar.gz", importd.VerifyChecksum, "checksum of \"good.tar.gz\" is"},
		{"not listed", "/unlisted.tar.gz", importd.VerifyChecksum, "unlisted.tar.gz"},
		{"no checksums", "/bare.tar.gz", importd.VerifyChecksum, "SHA256SUMS"},
		{"no signature", "/unsigned.tar.gz", importd.VerifySignature, "unsigned.tar.gz.sha256.asc"},
		{"not found", "/none.tar.gz", importd.VerifyNo, "404"},
		{"forbidden", "/error.tar", importd.VerifyNo, "403"},
		{"truncated gzip", "/cut.tar.gz", importd.VerifyNo, "unexpected EOF"},
		{"truncated tar", "/cut.tar", importd.VerifyNo, "cut off"},
		{"bomb", "/bomb.tar.gz", importd.VerifyNo, "limit"},
		{"no archive", "/text.tar", importd.VerifyNo, "archive"},
		{"redirect loop", "/loop.tar", importd.VerifyNo, "redirect"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, func(c *importd.Config) { c.SizeMax = 100 << 20 })
			r := pullTar(server.URL(test.path))
			r.Verify = test.verify
			err := h.do(r)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if got := h.entries(); len(got) > 0 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/loopfs"
	"berth/transfer/disk"
)

func qemu(t testing.TB, argv ...string) {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed", argv[0])
	}
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// content is a disk of all sorts of clusters, whose end is none of the cluster sizes in use.
func content() []byte {
	p := mixed()
	p = append(p, bytes.Repeat([]byte("text that compresses well\n"), 100_000)...)
	p = append(p, make([]byte, 5<<20)...)
	p = append(p, noise(99, 300_000)...)
	return p[:len(p)/512*512]
}

func openRW(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// convert converts an image and compares the result with what qemu-img makes of it. Clusters that are shared rather than
// copied keep the zeros in them.
func convert(t *testing.T, image string, shares bool) {
	t.Helper()
	want := image + ".want"
	qemu(t, "qemu-img", "convert", "-O", "raw", image, want)
	src, dst := openRW(t, image), newFile(t, image+".raw")
	most := allocated(t, openRW(t, want))
	if shares {
		most = max(most, allocated(t, src))
	}
	must(t, disk.ConvertQcow2(t.Context(), src, dst, disk.Options{}))
	if !same(t, dst.Name(), want) {
		t.Error("the disk is not what qemu-img makes of it")
	}
	if got := allocated(t, dst); got > most+256<<10 {
		t.Errorf("takes %d bytes, which should be %d", got, most)
	}
	if left := allocated(t, src); left != 0 {
		t.Errorf("%d bytes of the qcow2 image are left", left)
	}
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	must(t, err)
	y, err := os.ReadFile(b)
	must(t, err)
	return bytes.Equal(x, y)
}

func TestConvertQcow2(t *testing.T) {
	variants := []struct {
		name   string
		args   string
		shared bool // also try where files can share blocks
	}{
		{"v2", "-o compat=0.10", true},
		{"v3", "-o compat=1.1", true},
		{"v2 compressed", "-c -o compat=0.10", false},
		{"v3 compressed", "-c -o compat=1.1", true},
		{"zstd", "-c -o compression_type=zstd", false},
		{"zstd small clusters", "-c -o compression_type=zstd,cluster_size=4096", false},
		{"smallest clusters", "-o cluster_size=512", true},
		{"smallest clusters compressed", "-c -o cluster_size=512", false},
		{"largest clusters", "-o cluster_size=2M", true},
		{"largest clusters compressed", "-c -o cluster_size=2M", false},
		{"metadata there before", "-o preallocation=metadata", false},
		{"all there before", "-S 0 -o preallocation=full", true},
		{"lazy reference counts", "-o lazy_refcounts=on", false},
	}
	raw := content()
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := loopfs.Mount(t, kind, 400)
			must(t, os.WriteFile(dir+"/raw", raw, 0o600))
			for i, v := range variants {
				if kind != "ext4" && !v.shared {
					continue
				}
				t.Run(v.name, func(t *testing.T) {
					image := fmt.Sprint(dir, "/", i, ".qcow2")
					args := append([]string{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"}, strings.Fields(v.args)...)
					qemu(t, append(args, dir+"/raw", image)...)
					convert(t, image, kind != "ext4")
					must(t, os.Remove(image), os.Remove(image+".want"), os.Remove(image+".raw"))
				})
			}
		})
	}
}

// Images as machines leave them: written in no order, with holes made, with snapshots inside.
func TestConvertUsedQcow2(t *testing.T) {
	dir := t.TempDir()
	image := dir + "/used.qcow2"
	qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", image, "20000K")
	for i := 15; i >= 0; i-- {
		qemu(t, "qemu-io", "-c", fmt.Sprintf("write -P %d %dK 100K", i+1, i*1200), image)
	}
	qemu(t, "qemu-img", "snapshot", "-c", "before", image)
	qemu(t, "qemu-io", "-c", "write -P 77 2000K 3000K", "-c", "write -z 6000K 500K", "-c", "discard 8000K 1000K",
		"-c", "write -c -P 88 10240K 64K", image)
	convert(t, image, false)
}

func TestConvertEmptyQcow2(t *testing.T) {
	for _, size := range []string{"0", "512", "1T"} {
		image := filepath.Join(t.TempDir(), "empty.qcow2")
		qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", image, size)
		dst := newFile(t, image+".raw")
		must(t, disk.ConvertQcow2(t.Context(), openRW(t, image), dst, disk.Options{}))
		info, err := dst.Stat()
		must(t, err)
		want := map[string]int64{"0": 0, "512": 512, "1T": 1 << 40}[size]
		if info.Size() != want || allocated(t, dst) != 0 {
			t.Errorf("empty disk of %s became %d bytes and takes %d", size, info.Size(), allocated(t, dst))
		}
	}
}

// The disk has not enough room for the qcow2 image and the raw one at once.
func TestConvertQcow2InPlace(t *testing.T) {
	half := make([]byte, 0, 64<<20)
	for i := range 1024 {
		half = append(half, noise(uint64(i), 32<<10)...)
		half = append(half, bytes.Repeat([]byte{byte(i), 1}, 16<<10)...)
	}
	for name, test := range map[string]struct {
		data    []byte
		args    string
		sizeMiB int
	}{
		"data":       {noise(5, 64<<20), "", 100},
		"compressed": {half, "-c", 88},
	} {
		t.Run(name, func(t *testing.T) {
			raw := filepath.Join(t.TempDir(), "raw")
			must(t, os.WriteFile(raw, test.data, 0o600))
			dir := loopfs.Mount(t, "ext4", test.sizeMiB)
			args := append([]string{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"}, strings.Fields(test.args)...)
			qemu(t, append(args, raw, dir+"/image")...)
			dst := newFile(t, dir+"/disk")
			must(t, disk.ConvertQcow2(t.Context(), openRW(t, dir+"/image"), dst, disk.Options{}))
			if !same(t, raw, dir+"/disk") {
				t.Error("the disk differs")
			}
		})
	}
}

func TestConvertQcow2DiskFull(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "raw")
	must(t, os.WriteFile(raw, bytes.Repeat([]byte("compresses "), 4<<20), 0o600))
	dir := loopfs.Mount(t, "ext4", 32)
	qemu(t, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, dir+"/image")
	err := disk.ConvertQcow2(t.Context(), openRW(t, dir+"/image"), newFile(t, dir+"/disk"), disk.Options{})
	if !isNoSpace(err) {
		t.Errorf("full disk: %v", err)
	}
}

// What cannot be converted is refused before either file is touched.
func TestConvertQcow2Refuses(t *testing.T) {
	dir := t.TempDir()
	base := dir + "/base.qcow2"
	qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "10M")
	for name, test := range map[string]struct {
		args []string
		want error
	}{
		"backing file":  {[]string{"-b", base, "-F", "qcow2"}, disk.ErrBackingFile},
		"encrypted":     {[]string{"--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"}, disk.ErrEncrypted},
		"external data": {[]string{"-o", "data_file=" + dir + "/external"}, disk.ErrUnsupported},
		"subclusters":   {[]string{"-o", "extended_l2=on"}, disk.ErrUnsupported},
		"too large":     {nil, disk.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			qemu(t, append(append([]string{"qemu-img", "create", "-q", "-f", "qcow2"}, test.args...), image, "10M")...)
			before, err := os.ReadFile(image)
			must(t, err)
			dst := newFile(t, image+".raw")
			_, err = dst.WriteString("kept")
			must(t, err)
			err = disk.ConvertQcow2(t.Context(), openRW(t, image), dst, disk.Options{SizeMax: sizeMax(name)})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			after, err := os.ReadFile(image)
			must(t, err)
			kept, err := os.ReadFile(dst.Name())
			must(t, err)
			if !bytes.Equal(before, after) || string(kept) != "kept" {
				t.Error("a file was changed")
			}
		})
	}
}

func sizeMax(name string) int64 {
	if name == "too large" {
		return 10<<20 - 1
	}
	return 10 << 20
}

func TestConvertQcow2NamesBackingFile(t *testing.T) {
	dir := t.TempDir()
	qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", dir+"/base.qcow2", "10M")
	qemu(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", dir+"/base.qcow2", "-F", "qcow2", dir+"/image")
	err := disk.ConvertQcow2(t.Context(), openRW(t, dir+"/image"), newFile(t, dir+"/raw"), disk.Options{})
	if err == nil || !strings.Contains(err.Error(), "base.qcow2") {
		t.Errorf("the error names no file: %v", err)
	}
}

func TestConvertQcow2EndsWithContext(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/raw", noise(1, 1<<20), 0o600))
	qemu(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", dir+"/raw", dir+"/image")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := disk.ConvertQcow2(ctx, openRW(t, dir+"/image"), newFile(t, dir+"/disk"), disk.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

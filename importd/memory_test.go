package importd_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"berth/fixtures/faultserver"
	"berth/fixtures/footprint"
	"berth/importd"
	"berth/transfer/compress"
)

// memoryMax is what daemon, worker, unpacker and programs of the host may have in
// memory together at their peak, in bytes.
const memoryMax = 64 << 20

// packings are how an image of the memory test comes, with windows as large as
// ordinary files have them.
var packings = []struct {
	name    string
	program []string
}{
	{"uncompressed", []string{"cat"}},
	{"gzip", []string{"gzip", "-1"}},
	{"bzip2", []string{"bzip2", "-9"}},
	{"xz in one block", []string{"xz", "--threads=1", "--lzma2=preset=0,dict=8MiB"}},
	{"xz in blocks", []string{"xz", "--threads=2", "--lzma2=preset=0,dict=8MiB", "--block-size=25165824"}},
	{"zstd", []string{"zstd", "-q", "-1", "--zstd=wlog=23"}},
}

var formats = []compress.Format{compress.None, compress.Gzip, compress.Bzip2, compress.XZ, compress.Zstd}

// The memory of a transfer is bounded whatever its size.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies memory; make test-root runs this without it")
	}
	disk := bulk()
	for form, image := range map[string]struct {
		bytes                 []byte
		pull, taken, exporter importd.Kind
	}{
		"tar": {tree(t, disk), importd.PullTar, importd.ImportTar, importd.ExportTar},
		"raw": {disk, importd.PullRaw, importd.ImportRaw, importd.ExportRaw},
	} {
		t.Run(form, func(t *testing.T) {
			m := newMemory(t)
			for _, p := range packings {
				m.measure(p.name, image.bytes, p.program, image.pull, image.taken)
			}
			for _, f := range formats {
				r := importd.Request{Kind: image.exporter, Local: "image", Format: f, File: temp(t, nil)}
				m.bounded(fmt.Sprintf("%s as %s", r.Kind, f), r)
			}
		})
	}
}

// bulk is longer than all that may be in memory, and has what takes encoders
// most: bytes that do not compress, as well as what does.
func bulk() []byte {
	var text bytes.Buffer
	for n := 0; text.Len() < 8<<20; n++ {
		fmt.Fprintf(&text, "line %d of a text that has something new in each %x\n", n, n*n*n)
	}
	return slices.Concat(noise(8<<20), make([]byte, 64<<20), text.Bytes())
}

// memory measures transfers that each run in a daemon of their own.
type memory struct {
	*host
	server *faultserver.Server
	daemon string
}

// newMemory copies the program: with pages that it shares with this process it
// would look smaller than it is.
func newMemory(t *testing.T) *memory {
	t.Helper()
	h := newHost(t)
	h.t = t
	m := &memory{host: h, server: faultserver.Start(t), daemon: filepath.Join(t.TempDir(), "daemon")}
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(m.daemon, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Error(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// measure pulls and imports an image that a program has packed.
func (m *memory) measure(name string, image []byte, program []string, pull, taken importd.Kind) {
	m.t.Helper()
	if _, err := exec.LookPath(program[0]); err != nil {
		m.t.Errorf("NOT TESTED: %s of %s: %v", taken, name, err)
		return
	}
	pack := exec.CommandContext(m.t.Context(), program[0], program[1:]...)
	pack.Stdin = bytes.NewReader(image)
	packed, err := pack.Output()
	if err != nil {
		m.t.Fatalf("%s: %v", pack, err)
	}
	m.server.Set("/image", faultserver.Answer{Body: packed, ETag: `"1"`, Ranges: faultserver.RangesOn})
	m.bounded(fmt.Sprintf("%s, %s", pull, name), importd.Request{
		Kind: pull, Remote: m.server.URL("/image"), Verify: importd.VerifyNo, Local: "image", Force: true,
	})
	m.bounded(fmt.Sprintf("%s, %s", taken, name), importd.Request{
		Kind: taken, Local: "image", Force: true, File: temp(m.t, packed),
	})
}

// looks is how often a transfer is made that was too short to be looked at.
const looks = 20

// bounded runs a transfer to its end and looks at all its processes.
func (m *memory) bounded(name string, r importd.Request) {
	m.t.Helper()
	for range looks {
		most, processes := m.run(name, r)
		if processes < 2 {
			continue // the worker came and went between two looks
		}
		m.t.Logf("%-32s %3d MiB in %d processes", name, most>>20, processes)
		if most > memoryMax {
			m.t.Errorf("%s: %d processes took %d MiB, at most %d are allowed", name, processes, most>>20, memoryMax>>20)
		}
		return
	}
	m.t.Errorf("%s: no worker was ever seen (are children listed by this kernel, CONFIG_PROC_CHILDREN?)", name)
}

// run tells the most memory that a transfer's processes took together, and how
// many they were.
func (m *memory) run(name string, r importd.Request) (most int64, processes int) {
	m.t.Helper()
	if r.File != nil {
		if _, err := r.File.Seek(0, io.SeekStart); err != nil {
			m.t.Fatal(err)
		}
	}
	cmd := m.daemonFor(r)
	cmd.Path = m.daemon
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	highest := footprint.Watch(func() []int { return footprint.Tree(cmd.Process.Pid) })
	if err := cmd.Wait(); err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return highest()
}

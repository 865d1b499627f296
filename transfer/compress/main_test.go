package compress_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"berth/transfer/compress"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// variants are the two ways in which everything must work.
var variants = map[string]compress.Tools{
	"with programs": compress.HostTools(),
	"in Go":         {},
}

// variantsOf leaves out the second where both are the same code.
func variantsOf(f compress.Format) map[string]compress.Tools {
	if f == compress.XZ {
		return variants
	}
	return map[string]compress.Tools{"in Go": {}}
}

// payload returns n bytes that compress to about a third.
func payload(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		b = fmt.Appendf(b, "entry %d of %d\n", r.IntN(5000), r.Uint32())
		if r.IntN(20) == 0 {
			b = append(b, make([]byte, 40)...)
		}
	}
	return b[:n]
}

// run gives in to a program and returns its output; the test is skipped when the
// host lacks it.
func run(t testing.TB, in []byte, program string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("needs the program %s", program)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, &said)
	}
	return out
}

// sample makes a compressed stream of data.
type sample struct {
	name   string
	format compress.Format
	make   func(t testing.TB, data []byte) []byte
}

// made keeps streams by name and size of their data: the programs are slower
// than what is tested.
var made sync.Map

// stream returns the sample of payload(size) or of sparse(size).
func (s sample) stream(t testing.TB, data []byte) []byte {
	key := fmt.Sprint(s.name, len(data))
	if old, ok := made.Load(key); ok {
		return bytes.Clone(old.([]byte))
	}
	stream := s.make(t, data)
	made.Store(key, stream)
	return bytes.Clone(stream)
}

// sparse returns data that is quickly compressed, but more than all buffers and
// pipes on the way hold.
func sparse() []byte {
	return slices.Concat(payload(100_000), make([]byte, 8<<20), payload(100_000))
}

// by makes the whole stream with one run of a program.
func by(program string, args ...string) func(testing.TB, []byte) []byte {
	return func(t testing.TB, data []byte) []byte { return run(t, data, program, args...) }
}

// parts joins the streams of three parts of the data.
func parts(one func(testing.TB, []byte) []byte, between ...byte) func(testing.TB, []byte) []byte {
	return func(t testing.TB, data []byte) []byte {
		a, b := len(data)/3, len(data)/2
		return bytes.Join([][]byte{one(t, data[:a]), one(t, data[a:b]), one(t, data[b:])}, between)
	}
}

// then adds bytes after a stream.
func then(one func(testing.TB, []byte) []byte, suffix string) func(testing.TB, []byte) []byte {
	return func(t testing.TB, data []byte) []byte { return append(one(t, data), suffix...) }
}

// after puts bytes in front of a stream.
func after(prefix string, one func(testing.TB, []byte) []byte) func(testing.TB, []byte) []byte {
	return func(t testing.TB, data []byte) []byte { return append([]byte(prefix), one(t, data)...) }
}

const skippableFrame = "\x53\x2a\x4d\x18\x05\x00\x00\x00hello"

// samples are streams as programs in use make them.
var samples = []sample{
	{"gzip", compress.Gzip, by("gzip", "-c")},
	{"gzip -1 with a name", compress.Gzip, by("gzip", "-1", "-N", "-c")},
	{"gzip members", compress.Gzip, parts(by("gzip", "-c"))},
	{"gzip with padding", compress.Gzip, then(by("gzip", "-c"), string(make([]byte, 1027)))},
	{"pigz", compress.Gzip, by("pigz", "-c")},
	{"pigz -i", compress.Gzip, by("pigz", "-i", "-b", "128", "-c")},
	{"bzip2", compress.Bzip2, by("bzip2", "-c")},
	{"bzip2 -1", compress.Bzip2, by("bzip2", "-1", "-c")},
	{"bzip2 streams", compress.Bzip2, parts(by("bzip2", "-c"))},
	{"pbzip2", compress.Bzip2, by("pbzip2", "-c", "-b1")},
	{"xz", compress.XZ, by("xz", "-c")},
	{"xz blocks", compress.XZ, by("xz", "-T2", "--block-size=65536", "-c")},
	{"xz streams", compress.XZ, parts(by("xz", "-c"))},
	{"xz streams with padding", compress.XZ, parts(by("xz", "-c"), 0, 0, 0, 0)},
	{"xz with padding", compress.XZ, then(by("xz", "-c"), "\x00\x00\x00\x00\x00\x00\x00\x00")},
	{"xz crc32", compress.XZ, by("xz", "-C", "crc32", "-0", "-c")},
	{"xz sha256", compress.XZ, by("xz", "-C", "sha256", "-c")},
	{"xz no check", compress.XZ, by("xz", "-C", "none", "-c")},
	{"xz -9e", compress.XZ, by("xz", "-9e", "-c")},
	{"zstd", compress.Zstd, by("zstd", "-c")},
	{"zstd no check", compress.Zstd, by("zstd", "--no-check", "-c")},
	{"zstd -19 --long", compress.Zstd, by("zstd", "-19", "--long=27", "-c")},
	{"zstd frames", compress.Zstd, parts(by("zstd", "-c"))},
	{"zstd skippable frames between", compress.Zstd, parts(by("zstd", "-c"), []byte(skippableFrame)...)},
	{"zstd after a skippable frame", compress.Zstd, after(skippableFrame, by("zstd", "-c"))},
	{"zstd before a skippable frame", compress.Zstd, then(by("zstd", "-c"), skippableFrame)},
	{"pzstd", compress.Zstd, by("pzstd", "-c", "-p", "2")},
	{"uncompressed", compress.None, func(_ testing.TB, data []byte) []byte { return data }},
}

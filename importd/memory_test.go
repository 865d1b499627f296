package importd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/fixtures/faultserver"

	"github.com/klauspost/compress/zstd"
)

// memoryMax is what daemon and worker may take together at their peak.
const memoryMax = 96 << 20

// processes are worker, unpacker and a decompressor of the host, each of which
// is counted as the largest.
const processes = 3

// The memory of a pull is bounded whatever its size. The image is 128 MB of
// many files, as text compresses.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies memory; make test-root runs this without it")
	}
	h, server := newHost(t), faultserver.Start(t)
	payload := bytes.Repeat(noise(4096), 32<<20/4096)
	var archive bytes.Buffer
	encoder, err := zstd.NewWriter(&archive)
	if err != nil {
		t.Fatal(err)
	}
	_, err = encoder.Write(tree(t, payload, payload, payload, payload))
	if err := errors.Join(err, encoder.Close()); err != nil {
		t.Fatal(err)
	}
	server.Set("/big.tar.zst", faultserver.Answer{Body: archive.Bytes()})
	// The daemon is a small process of its own: a child counts what its parent
	// took when it was started.
	out, err := h.daemonFor(server.URL("/big.tar.zst")).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := bytes.Cut(out, []byte("peak "))
	kib, err := strconv.ParseInt(strings.TrimSpace(string(peak)), 10, 64)
	if err != nil {
		t.Fatalf("the daemon said %q", out)
	}
	if st, err := os.Stat(filepath.Join(h.root, "big/usr/payload3")); err != nil || st.Size() != 32<<20 {
		t.Errorf("the image is not whole: %v", err)
	}
	const daemon = 16 << 20
	if total := kib<<10*processes + daemon; total > memoryMax {
		t.Errorf("the largest process took %d KiB, at most %d MiB in all are allowed", kib, memoryMax>>20)
	}
}

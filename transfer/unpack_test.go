package transfer

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/transfer/compress"
)

// TestTreeOfCPIO unpacks a cpio archive where a tar archive may come, in any compression.
func TestTreeOfCPIO(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio is not installed")
	}
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "a"), []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(source, "a"), filepath.Join(source, "b")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "cpio", "-o", "-H", "newc", "--quiet")
	cmd.Dir, cmd.Stdin = source, bytes.NewBufferString("a\nb\n")
	archive, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []compress.Format{compress.None, compress.Gzip, compress.Zstd} {
		var packed bytes.Buffer
		err := Pack(t.Context(), &packed, format, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(archive)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		target, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		if err := Unpack(t.Context(), &packed, Tree(target, TreeOptions{})); err != nil {
			t.Fatalf("%v: %v", format, err)
		}
		for _, name := range []string{"a", "b"} {
			if got, err := os.ReadFile(filepath.Join(target.Name(), name)); string(got) != "content" {
				t.Errorf("%v: %s has %q, %v", format, name, got, err)
			}
		}
	}
}

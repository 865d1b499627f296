package runner

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/fixtures/diskimage"
)

func TestLocateRootOfXFS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	offset, err := diskimage.Create(path, true)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("XFSB"), int64(offset)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	where, err := locateRoot(path)
	if err != nil || !slices.Contains(where.mountOptions(false), "nouuid") {
		t.Errorf("%+v, %v", where, err)
	}
}

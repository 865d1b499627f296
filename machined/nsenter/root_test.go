package nsenter

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// tree is a guest's root with traps in it.
func tree(t *testing.T) (root *os.File, outside string) {
	t.Helper()
	top := t.TempDir()
	outside = filepath.Join(top, "secret")
	dir := filepath.Join(top, "root")
	err := errors.Join(
		os.WriteFile(outside, []byte("of the host"), 0o600),
		os.MkdirAll(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/plain"), []byte("of the guest"), 0o644),
		os.Symlink("/etc/plain", filepath.Join(dir, "etc/absolute")),
		os.Symlink("../../../../secret", filepath.Join(dir, "etc/up")),
		os.Symlink(outside, filepath.Join(dir, "etc/out")),
		os.Symlink("loop", filepath.Join(dir, "etc/loop")),
		unix.Mkfifo(filepath.Join(dir, "etc/fifo"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	root, err = os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root, outside
}

func TestReadFile(t *testing.T) {
	root, _ := tree(t)
	for name, want := range map[string]error{
		"/etc/plain": nil, "etc/plain": nil, "/etc/absolute": nil, "../../etc/plain": nil,
		"/etc/up": os.ErrNotExist, "/etc/out": os.ErrNotExist, "/etc/loop": unix.ELOOP,
		"/etc/fifo": ErrNotRegular, "/etc": ErrNotRegular, "/absent": os.ErrNotExist,
	} {
		data, err := ReadFile(root, name, 100)
		if !errors.Is(err, want) || (want == nil && string(data) != "of the guest") {
			t.Errorf("%s: %q, error %v, want %v", name, data, err, want)
		}
	}
	if _, err := ReadFile(root, "/etc/plain", 11); !errors.Is(err, ErrTooLarge) {
		t.Errorf("12 bytes with room for 11: error %v", err)
	}
	if _, err := ReadFile(root, "/etc/plain", 12); err != nil {
		t.Errorf("12 bytes with room for 12: error %v", err)
	}
}

func TestOpenNullRefusesOthers(t *testing.T) {
	root, outside := tree(t)
	dev := filepath.Join(root.Name(), "dev")
	if err := errors.Join(os.Mkdir(dev, 0o755), os.Symlink(outside, filepath.Join(dev, "null"))); err != nil {
		t.Fatal(err)
	}
	if f, err := openNull(root); err == nil {
		t.Errorf("opened %s", f.Name())
	}
	if err := errors.Join(os.Remove(filepath.Join(dev, "null")), unix.Mkfifo(filepath.Join(dev, "null"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, err := openNull(root); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a pipe as null device: error %v", err)
	}
}

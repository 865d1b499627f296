package images

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	first, second = time.UnixMicro(1e15), time.UnixMicro(2e15)
	clock         = time.Unix(1e9, 0)
)

// attributed is an entry with the first time as its attribute, as if it had been
// changed so long ago.
func attributed(t *testing.T, age time.Duration) entry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	e := entry{path: path}
	if err := statx(unix.AT_FDCWD, path, &e.stat); err != nil {
		t.Fatal(err)
	}
	e.stat.Ctime = unix.StatxTimestamp{Sec: clock.Add(-age).Unix()}
	setAttribute(t, path, first)
	return e
}

func setAttribute(t *testing.T, path string, created time.Time) {
	t.Helper()
	err := unix.Setxattr(path, xattrCreated, binary.LittleEndian.AppendUint64(nil, uint64(created.UnixMicro())), 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("NOT TESTED: needs a file system with user attributes")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An attribute is read once, and again when the inode says that something changed.
func TestBirthIsReadOncePerChange(t *testing.T) {
	for what, change := range map[string]func(st *unix.Statx_t){
		"time of change": func(st *unix.Statx_t) { st.Ctime.Nsec++ },
		"time of birth":  func(st *unix.Statx_t) { st.Btime.Nsec++ },
		"number":         func(st *unix.Statx_t) { st.Ino++ },
		"device":         func(st *unix.Statx_t) { st.Dev_minor++ },
	} {
		var b births
		e := attributed(t, time.Hour)
		if got := b.attributeAt(e, clock); !got.Equal(first) {
			t.Errorf("created %v, want %v", got, first)
		}
		setAttribute(t, e.path, second)
		if got := b.attributeAt(e, clock); !got.Equal(first) {
			t.Errorf("read again, though the inode has not changed: %v", got)
		}
		change(&e.stat)
		if got := b.attributeAt(e, clock); !got.Equal(second) {
			t.Errorf("another %s: %v, want %v", what, got, second)
		}
	}
}

// Within one step of the file system's clock a second change does not show, and a
// clock that was set back says nothing.
func TestBirthOfAFreshChangeIsReadAgain(t *testing.T) {
	for _, age := range []time.Duration{settled, 0, -time.Hour} {
		var b births
		e := attributed(t, age)
		b.attributeAt(e, clock)
		setAttribute(t, e.path, second)
		if got := b.attributeAt(e, clock); !got.Equal(second) {
			t.Errorf("changed %v ago: %v, want %v", age, got, second)
		}
	}
}

func TestBirthsAreBounded(t *testing.T) {
	var b births
	for n := range uint64(maxBirths + 10) {
		b.remember(inode{number: n}, kept{})
	}
	if len(b.known) > maxBirths {
		t.Errorf("%d are remembered", len(b.known))
	}
}

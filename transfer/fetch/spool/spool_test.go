package spool

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// open opens the spool of "u" at a path.
func open(t *testing.T, path string) *File {
	t.Helper()
	s, err := Open(path, "u")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What several lanes have written in any order is there, for this process and for a later one.
func TestLanes(t *testing.T) {
	const size = 5<<20 + 3
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	if _, err := random.Read(data); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "spool")
	s := open(t, path)
	if err := s.Start(size, []byte(`"v1"`)); err != nil {
		t.Fatal(err)
	}
	// Three lanes in turn, with a gap between the second and the third.
	starts, ends := []int64{0, 1 << 20, 4 << 20}, []int64{1 << 20, 3<<20 + 7, size}
	lanes := []*Lane{s.Lane(), s.Lane(), s.Lane()}
	for at := starts[0]; at < 3<<20; at += 100_000 {
		for i, l := range lanes {
			from := min(starts[i]+at, ends[i])
			if err := l.Write(data[from:min(from+100_000, ends[i])], from); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, again := range []bool{false, true} {
		if again {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s = open(t, path); string(s.About()) != `"v1"` {
				t.Errorf("about %q", s.About())
			}
		}
		if got := s.Gap(nil); got != (Span{ends[1], starts[2]}) || s.Missing(nil) != got.End-got.First {
			t.Errorf("gap %v, %d bytes are missing", got, s.Missing(nil))
		}
		got := make([]byte, size)
		mustRead(t, s, got[:ends[1]], 0, again)
		mustRead(t, s, got[starts[2]:], starts[2], again)
		copy(got[ends[1]:], data[ends[1]:starts[2]])
		if !bytes.Equal(got, data) {
			t.Error("what was read is not what was written")
		}
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
}

// mustRead fills p from an offset on.
func mustRead(t *testing.T, s *File, p []byte, offset int64, earlier bool) {
	t.Helper()
	for len(p) > 0 {
		n, old, err := s.Read(p, offset)
		if n == 0 || err != nil || old != earlier {
			t.Fatalf("at %d: %d bytes, of an earlier process: %v, %v", offset, n, old, err)
		}
		p, offset = p[n:], offset+int64(n)
	}
}

// A process that ends between data and record, or in the middle of either, costs what it had not finished.
func TestTornRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	for cut := int64(0); cut <= 2*recordSize; cut++ {
		s := open(t, path)
		if err := s.Start(1000, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 500} {
			if err := s.Lane().Write(make([]byte, 100), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.file.Truncate(recordsAt(1000) + 2*recordSize - cut); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path)
		want := (2*recordSize - cut) / recordSize * 100
		if got := s.length(); got != want {
			t.Errorf("%d bytes cut off: %d bytes are left, want %d", cut, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSizesThatHaveNoPlace(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool"))
	for _, size := range []int64{-1, 0, 1<<63 - 1} {
		if err := s.Start(size, nil); err == nil {
			t.Errorf("a file of %d bytes has a spool", size)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzSpool(f *testing.F) {
	head, err := header{Key: key("u"), Size: 10, About: []byte("{}")}.block()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add(append(bytes.Clone(head), "0123456789......\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"...))
	f.Add(append(bytes.Clone(head), bytes.Repeat([]byte{0xff}, 64)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "spool")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, "u")
		if err != nil {
			t.Fatal(err)
		}
		readToTheEnd(t, s)
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	})
}

// readToTheEnd reads all that is in a spool and steps over what is not.
func readToTheEnd(t *testing.T, s *File) {
	t.Helper()
	if have := s.have.Length(); have < 0 || have > s.header.Size {
		t.Fatalf("%d bytes of %d", have, s.header.Size)
	}
	buf := make([]byte, 100)
	for at := int64(0); at < s.header.Size; {
		n, _, err := s.Read(buf, at)
		at += int64(n)
		if n > 0 || err != nil {
			continue // damage is forgotten
		}
		missing := s.Gap(Spans{{0, at}})
		if missing.First != at || missing.Empty() {
			t.Fatalf("at %d the spool has nothing and misses %+v", at, missing)
		}
		at = missing.End
	}
}

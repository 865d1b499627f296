package disk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/transfer/disk"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// newFile makes an empty file, open for reading and writing until the test ends.
func newFile(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func allocated(t testing.TB, f *os.File) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, f.Sync(), unix.Fstat(int(f.Fd()), &st))
	return st.Blocks * 512
}

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(p)
	return p
}

// mixed is data with zeros of all lengths and at all places in it.
func mixed() []byte {
	var p []byte
	for i, n := range []int{1, 5000, 4096, 70_000, 4095, 1 << 20, 3, 2 << 20, 12_288, 1<<20 - 1} {
		p = append(p, noise(uint64(i), n)...)
		p = append(p, make([]byte, n*3/2)...)
	}
	return p
}

func TestWriteSparse(t *testing.T) {
	sparse := make([]byte, 8<<20)
	copy(sparse[4<<20:], "data")
	for name, test := range map[string]struct {
		data []byte
		most int64 // allocated bytes
	}{
		"empty":       {nil, 0},
		"one byte":    {[]byte("x"), 4096},
		"one zero":    {[]byte{0}, 0},
		"two bytes":   {[]byte{0, 'x'}, 4096},
		"zeros":       {make([]byte, 3<<20+5), 0},
		"ends zero":   {append([]byte("x"), make([]byte, 10_000)...), 4096},
		"one block":   {sparse, 4096},
		"block sized": {noise(1, 3<<20), 3 << 20},
		"odd sized":   {noise(1, 3<<20+17), 3<<20 + 4096},
		"mixed":       {mixed(), 6 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, filepath.Join(t.TempDir(), "disk"))
			_, err := f.WriteString("what was there before, longer than some of the images")
			must(t, err)
			// Readers that give little at a time must not make other holes.
			n, err := disk.WriteSparse(t.Context(), f, iotest.HalfReader(bytes.NewReader(test.data)), 0)
			must(t, err)
			got, err := os.ReadFile(f.Name())
			must(t, err)
			if n != int64(len(test.data)) || !bytes.Equal(got, test.data) {
				t.Errorf("wrote %d of %d bytes, or others", n, len(test.data))
			}
			// A filesystem may take a little more for the map of a file.
			if got := allocated(t, f); got > test.most+64<<10 {
				t.Errorf("takes %d bytes, not %d", got, test.most)
			}
		})
	}
}

// telling tells of some of its zeros instead of giving them.
type telling struct {
	pieces []any // []byte, or int: so many zeros
}

func (r *telling) ReadSparse(p []byte) (n int, zeros int64, err error) {
	if len(r.pieces) == 0 {
		return 0, 0, io.EOF
	}
	switch piece := r.pieces[0].(type) {
	case int:
		zeros = int64(piece)
	case []byte:
		if n = copy(p, piece); n < len(piece) {
			r.pieces[0] = piece[n:]
			return n, 0, nil
		}
	}
	r.pieces = r.pieces[1:]
	return n, zeros, nil
}

func (r *telling) Read([]byte) (int, error) {
	return 0, errors.New("asked for zeros that it can tell of")
}

func TestWriteSparseOfZerosTold(t *testing.T) {
	for name, pieces := range map[string][]any{
		"none":      {noise(1, 70_000)},
		"only":      {5 << 20},
		"first":     {5000, noise(1, 70_000)},
		"last":      {noise(1, 70_000), 3 << 20},
		"odd":       {noise(1, 4097), 4095, noise(2, 1<<20+3), 9 << 20, noise(3, 17), 1, noise(4, 2<<20), make([]byte, 1<<20), 5},
		"in a row":  {noise(1, 10), 4096, 5000, 1, noise(2, 10)},
		"one block": {noise(1, 100), 200, noise(2, 100)},
	} {
		t.Run(name, func(t *testing.T) {
			var want []byte
			for _, piece := range pieces {
				switch piece := piece.(type) {
				case int:
					want = append(want, make([]byte, piece)...)
				case []byte:
					want = append(want, piece...)
				}
			}
			f := newFile(t, filepath.Join(t.TempDir(), "disk"))
			_, err := f.Write(noise(9, 10<<20))
			must(t, err)
			n, err := disk.WriteSparse(t.Context(), f, &telling{slices.Clone(pieces)}, int64(len(want)))
			must(t, err)
			got, err := os.ReadFile(f.Name())
			must(t, err)
			if n != int64(len(want)) || !bytes.Equal(got, want) {
				t.Errorf("wrote %d of %d bytes, or others", n, len(want))
			}
			_, err = disk.WriteSparse(t.Context(), f, &telling{slices.Clone(pieces)}, int64(len(want)-1))
			if !errors.Is(err, disk.ErrTooLarge) {
				t.Errorf("one byte more than allowed: %v", err)
			}
		})
	}
}

func TestWriteSparseLimit(t *testing.T) {
	f := newFile(t, filepath.Join(t.TempDir(), "disk"))
	for _, size := range []int64{3000, 3 << 20, 3<<20 + 1} {
		data := noise(1, int(size))
		if n, err := disk.WriteSparse(t.Context(), f, bytes.NewReader(data), size); err != nil || n != size {
			t.Errorf("as large as allowed: %d, %v", n, err)
		}
		if _, err := disk.WriteSparse(t.Context(), f, bytes.NewReader(data), size-1); !errors.Is(err, disk.ErrTooLarge) {
			t.Errorf("one byte more than allowed: %v", err)
		}
	}
}

func TestWriteSparseKeepsErrors(t *testing.T) {
	f := newFile(t, filepath.Join(t.TempDir(), "disk"))
	// A decoder gives this very error for input that is cut short.
	for _, want := range []error{io.ErrUnexpectedEOF, errors.New("of its own")} {
		r := io.MultiReader(bytes.NewReader(noise(1, 5000)), iotest.ErrReader(want))
		if _, err := disk.WriteSparse(t.Context(), f, r, 0); !errors.Is(err, want) {
			t.Errorf("source failed with %q, the writer with %v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.WriteSparse(ctx, f, bytes.NewReader(nil), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := newFile(t, filepath.Join(loopfs.Mount(t, "ext4", 16), "disk"))
	if _, err := disk.WriteSparse(t.Context(), full, bytes.NewReader(noise(1, 20<<20)), 0); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
}

func TestCopy(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": nil, "small": []byte("x"), "mixed": mixed(), "ends in a hole": append(noise(1, 5000), make([]byte, 3<<20)...),
		"all hole": make([]byte, 5<<20+3),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, filepath.Join(t.TempDir(), "disk"))
			_, err := disk.WriteSparse(t.Context(), f, bytes.NewReader(data), 0)
			must(t, err)
			var out bytes.Buffer
			n, err := disk.Copy(t.Context(), &out, f)
			must(t, err)
			if n != int64(len(data)) || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("read %d of %d bytes, or others", n, len(data))
			}
			if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != n {
				t.Errorf("the offset is %d, %v", at, err)
			}
		})
	}
}

// progressWriter remembers where the file's offset was at each write.
type progressWriter struct {
	f    *os.File
	seen []int64
}

func (w *progressWriter) Write(p []byte) (int, error) {
	at, err := w.f.Seek(0, io.SeekCurrent)
	w.seen = append(w.seen, at)
	return len(p), err
}

func TestCopyShowsProgress(t *testing.T) {
	f := newFile(t, filepath.Join(t.TempDir(), "disk"))
	must(t, f.Truncate(6<<20))
	_, err := f.WriteAt(noise(1, 2<<20), 2<<20)
	must(t, err)
	w := &progressWriter{f: f}
	_, err = disk.Copy(t.Context(), w, f)
	must(t, err)
	for i := 1; i < len(w.seen); i++ {
		if w.seen[i] < w.seen[i-1] || w.seen[i] > 6<<20 {
			t.Errorf("offsets while copying: %v", w.seen)
			break
		}
	}
	if len(w.seen) < 3 {
		t.Errorf("written in %d pieces", len(w.seen))
	}
}

func TestCopyEnds(t *testing.T) {
	f := newFile(t, filepath.Join(t.TempDir(), "disk"))
	must(t, f.Truncate(6<<20))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Copy(ctx, io.Discard, f); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	r, w := io.Pipe()
	must(t, r.Close())
	if _, err := disk.Copy(t.Context(), w, f); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("reader gone: %v", err)
	}
}

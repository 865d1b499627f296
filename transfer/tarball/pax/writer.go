package pax

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
)

// Writer writes an archive: WriteHeader, then exactly the payload that the header promises, and Close after the last
// entry. The same calls give the same bytes.
type Writer struct {
	dst  io.Writer
	buf  []byte
	n    int
	left int64 // payload that is still to come
	pad  int64
}

// NewWriter returns a writer of an archive into dst. It buffers; Close flushes.
func NewWriter(dst io.Writer) *Writer {
	return &Writer{dst: dst, buf: make([]byte, bufferSize)}
}

// WriteHeader begins the next entry. The payload that has to follow is h.Size bytes, or the bytes of h.Sparse's
// fragments where that is not nil. The offsets of fragments and their lengths, but for the end of the file, have to be
// multiples of BlockSize: GNU tar reads no others.
func (w *Writer) WriteHeader(h *Header) error {
	if w.left != 0 {
		return fmt.Errorf("write header of %q: %d bytes of the entry before it are missing", h.Name, w.left)
	}
	if err := w.zeros(w.pad); err != nil {
		return err
	}
	w.pad = 0
	var sparse []byte
	stored := h.Size
	if h.Type != TypeRegular {
		stored = 0
	}
	if h.Sparse != nil {
		if sparse, stored = formatMap(h.Sparse, h.Size); stored < 0 {
			return fmt.Errorf("write header of %q: sparse map out of order", h.Name)
		}
	}
	var b block
	records := b.fill(h, stored+int64(len(sparse)))
	if len(records) > 0 {
		var x block
		x.fillPlain("PaxHeaders/"+path.Base(h.Name), 'x', int64(len(records)))
		err := errors.Join(w.put(x[:]), w.put(records), w.zeros(-int64(len(records))&(BlockSize-1)))
		if err != nil {
			return err
		}
	}
	w.left = stored
	w.pad = -stored & (BlockSize - 1)
	return errors.Join(w.put(b[:]), w.put(sparse))
}

// formatMap returns the blocks of a sparse map and the number of stored bytes, negative if the map is not valid.
func formatMap(fragments []Fragment, size int64) (m []byte, stored int64) {
	var end int64
	for _, f := range fragments {
		if f.Offset < end || f.Length < 0 || f.Offset+f.Length > size {
			return nil, -1
		}
		end = f.Offset + f.Length
		stored += f.Length
	}
	count := len(fragments)
	if end < size {
		count++ // a hole at the end is written as an empty fragment, as GNU tar does
	}
	m = append(strconv.AppendInt(m, int64(count), 10), '\n')
	for _, f := range fragments {
		m = append(strconv.AppendInt(m, f.Offset, 10), '\n')
		m = append(strconv.AppendInt(m, f.Length, 10), '\n')
	}
	if end < size {
		m = append(strconv.AppendInt(m, size, 10), "\n0\n"...)
	}
	return append(m, make([]byte, -len(m)&(BlockSize-1))...), stored
}

// Space returns room for payload in the writer's own buffer, for whoever can read straight into it: at most as much
// as is still to come. Advance says how much was used.
func (w *Writer) Space() ([]byte, error) {
	if w.n == len(w.buf) {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	return w.buf[w.n : w.n+int(min(int64(len(w.buf)-w.n), w.left))], nil
}

// Advance takes the first n bytes of what Space returned as payload.
func (w *Writer) Advance(n int) {
	w.n += n
	w.left -= int64(n)
}

// Pending is the number of payload bytes of the current entry that are still to come.
func (w *Writer) Pending() int64 { return w.left }

// Close writes the end marker and flushes. It does not close the destination.
func (w *Writer) Close() error {
	if w.left != 0 {
		return fmt.Errorf("end archive: %d bytes of the last entry are missing", w.left)
	}
	return errors.Join(w.zeros(w.pad+2*BlockSize), w.flush())
}

func (w *Writer) put(p []byte) error {
	for len(p) > 0 {
		if w.n == len(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n := copy(w.buf[w.n:], p)
		w.n += n
		p = p[n:]
	}
	return nil
}

func (w *Writer) zeros(n int64) error {
	var zero [2 * BlockSize]byte
	for n > 0 {
		k := min(n, int64(len(zero)))
		if err := w.put(zero[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

func (w *Writer) flush() error {
	if w.n == 0 {
		return nil
	}
	n, err := w.dst.Write(w.buf[:w.n])
	if err == nil && n < w.n {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	w.n = 0
	return nil
}

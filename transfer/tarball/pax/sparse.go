package pax

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// record takes one GNU.sparse.* record, named without that prefix.
func (s *sparseRecords) record(key, value string, limit int) error {
	var err error
	switch key {
	case "major":
		s.major = value
	case "minor":
		s.minor = value
	case "name":
		s.name = value
	case "size", "realsize":
		if s.size, err = strconv.ParseInt(value, 10, 64); err == nil && s.size < 0 {
			err = strconv.ErrRange
		}
	case "offset":
		var offset int64
		offset, err = strconv.ParseInt(value, 10, 64)
		if s.half || len(s.fragments) == limit {
			return fmt.Errorf("%w: sparse offsets out of order or too many", ErrFormat)
		}
		s.fragments = append(s.fragments, Fragment{Offset: offset})
		s.hasMap, s.half = true, true
	case "numbytes":
		if !s.half {
			return fmt.Errorf("%w: sparse length without offset", ErrFormat)
		}
		s.fragments[len(s.fragments)-1].Length, err = strconv.ParseInt(value, 10, 64)
		s.half = false
	case "map":
		s.hasMap = true
		s.fragments, err = parseMap(s.fragments[:0], value, limit)
	}
	if err != nil {
		return fmt.Errorf("%w: GNU.sparse.%s=%q: %w", ErrFormat, key, value, err)
	}
	return nil
}

// parseMap reads "offset,length,offset,length".
func parseMap(to []Fragment, value string, limit int) ([]Fragment, error) {
	for rest := value; rest != ""; {
		var first, second string
		first, rest, _ = strings.Cut(rest, ",")
		second, rest, _ = strings.Cut(rest, ",")
		offset, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return nil, err
		}
		length, err := strconv.ParseInt(second, 10, 64)
		if err != nil {
			return nil, err
		}
		if len(to) == limit {
			return nil, ErrLimit
		}
		to = append(to, Fragment{Offset: offset, Length: length})
	}
	return to, nil
}

// sparseFile completes a header whose records or type say that it is sparse. On return h.Size is the real size.
func (r *Reader) sparseFile(h *Header, old bool) error {
	s := &r.sparse
	stored := h.Size
	switch {
	case old:
		if err := r.oldSparseMap(h); err != nil {
			return err
		}
	case s.major == "1" && s.minor == "0":
		before := r.consumed
		if err := r.streamedSparseMap(h, stored); err != nil {
			return err
		}
		stored -= r.consumed - before
	case s.hasMap || s.major == "0":
		if s.half {
			return fmt.Errorf("%w: sparse offset without length", ErrFormat)
		}
		h.Sparse = append([]Fragment{}, s.fragments...)
	default:
		return nil
	}
	if !old {
		if s.name != "" {
			h.Name = s.name
		}
		if s.size >= 0 {
			h.Size = s.size
		}
	}
	if err := checkMap(h.Sparse, h.Size, stored); err != nil {
		return err
	}
	// An empty fragment at the end only repeats the size.
	h.Sparse = slices.DeleteFunc(h.Sparse, func(f Fragment) bool { return f.Length == 0 })
	return nil
}

// checkMap holds fragments to be in order, apart, within the file, and to cover all stored bytes.
func checkMap(fragments []Fragment, size, stored int64) error {
	var end, sum int64
	for _, f := range fragments {
		if f.Offset < end || f.Length < 0 || f.Length > math.MaxInt64-f.Offset || f.Offset+f.Length > size {
			return fmt.Errorf("%w: sparse map: %d bytes at %d", ErrFormat, f.Length, f.Offset)
		}
		end = f.Offset + f.Length
		sum += f.Length
	}
	if size < 0 || sum != stored {
		return fmt.Errorf("%w: sparse map covers %d of %d stored bytes", ErrFormat, sum, stored)
	}
	return nil
}

// oldSparseMap reads the map of GNU's type S: four entries in the header, 21 in each block that follows it.
func (r *Reader) oldSparseMap(h *Header) error {
	if !r.hdr.isGNU() {
		return fmt.Errorf("%w: sparse entry in a header that is not GNU's", ErrFormat)
	}
	size, err := number(r.hdr[483:495])
	if err != nil {
		return fmt.Errorf("%w: real size %q", ErrFormat, r.hdr[483:495])
	}
	h.Size = size
	h.Sparse = []Fragment{}
	entries, more := r.hdr[386:482], r.hdr[482] != 0
	for {
		for ; len(entries) >= 24 && entries[0] != 0; entries = entries[24:] {
			offset, err1 := number(entries[:12])
			length, err2 := number(entries[12:24])
			if err1 != nil || err2 != nil {
				return fmt.Errorf("%w: sparse map entry %q", ErrFormat, entries[:24])
			}
			if len(h.Sparse) == r.limits.Fragments {
				return fmt.Errorf("%w: more than %d pieces of a sparse file", ErrLimit, r.limits.Fragments)
			}
			h.Sparse = append(h.Sparse, Fragment{Offset: offset, Length: length})
		}
		if !more {
			return nil
		}
		b, err := r.take(BlockSize)
		if err != nil {
			return err
		}
		if err := r.countHeader(); err != nil {
			return err
		}
		entries, more = b[:504], b[504] != 0
	}
}

// streamedSparseMap reads the map of GNU's form 1.0, decimal lines in whole blocks before the data.
func (r *Reader) streamedSparseMap(h *Header, stored int64) error {
	numbers := mapNumbers{r: r, left: stored}
	count, err := numbers.next()
	if err != nil {
		return err
	}
	if count > int64(r.limits.Fragments) {
		return fmt.Errorf("%w: %d pieces of a sparse file, at most %d", ErrLimit, count, r.limits.Fragments)
	}
	h.Sparse = []Fragment{}
	for range count {
		var f Fragment
		if f.Offset, err = numbers.next(); err != nil {
			return err
		}
		if f.Length, err = numbers.next(); err != nil {
			return err
		}
		h.Sparse = append(h.Sparse, f)
	}
	return nil
}

// mapNumbers reads decimal lines block by block, so that it stops at the end of the block of the last one.
type mapNumbers struct {
	r    *Reader
	buf  block
	rest []byte
	left int64
}

func (m *mapNumbers) next() (int64, error) {
	var n int64
	for digits := 0; ; digits++ {
		if len(m.rest) == 0 {
			if m.left < BlockSize {
				return 0, fmt.Errorf("%w: sparse map longer than its entry", ErrFormat)
			}
			b, err := m.r.take(BlockSize)
			if err != nil {
				return 0, err
			}
			m.left -= BlockSize
			m.rest = m.buf[:copy(m.buf[:], b)]
		}
		c := m.rest[0]
		m.rest = m.rest[1:]
		switch {
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9' || n > (math.MaxInt64-9)/10:
			return 0, fmt.Errorf("%w: sparse map is not a list of numbers", ErrFormat)
		}
		n = n*10 + int64(c-'0')
	}
}

package pax

import (
	"errors"
	"fmt"
	"io"
)

// bufferSize is what is read at once. It stays within a core's L2 cache, so that what a decoder has just written is
// still there when the kernel copies it into the page cache.
const bufferSize = 256 << 10

// Reader reads an archive entry by entry: Next, then Chunk until io.EOF, if the payload is wanted.
// It reads ahead of what it returns.
type Reader struct {
	src      io.Reader
	limits   Limits
	buf      []byte
	pos, end int   // unread bytes of buf
	srcErr   error // what src ended with
	consumed int64 // bytes handed out or dropped
	headers  int64
	done     bool

	hdr     block
	records []byte // pax records of the current entry; attribute values point into it
	global  []byte
	header  Header
	sparse  sparseRecords

	fragments []Fragment // the payload that is left
	dense     [1]Fragment
	pad       int64
}

// NewReader returns a reader of the archive that src delivers.
func NewReader(src io.Reader, limits Limits) *Reader {
	return &Reader{src: src, limits: limits.WithDefaults(), buf: make([]byte, bufferSize)}
}

// Offset is the number of bytes of the archive that have been used.
func (r *Reader) Offset() int64 { return r.consumed }

// Next goes to the next entry and drops what is left of the current one. At the end marker it returns io.EOF.
// Other errors wrap ErrFormat, ErrTruncated, ErrLimit or what the source reported.
func (r *Reader) Next() (*Header, error) {
	if r.done {
		return nil, io.EOF
	}
	if err := r.skipPayload(); err != nil {
		return nil, err
	}
	r.records = r.records[:0]
	var longName, longLink string
	for {
		b, err := r.take(BlockSize)
		if err != nil {
			return nil, err
		}
		r.hdr = block(b)
		if r.hdr.isZero() {
			// One block is enough: nothing of value follows, and GNU tar and libarchive stop here as well.
			r.done = true
			return nil, io.EOF
		}
		r.header = Header{Xattrs: r.header.Xattrs[:0]}
		h := &r.header
		if err := errors.Join(r.countHeader(), r.hdr.header(h)); err != nil {
			return nil, err
		}
		switch h.Type {
		case 'x', 'X':
			r.records, err = r.meta(r.records[:0], h.Size)
		case 'g':
			r.global, err = r.meta(r.global[:0], h.Size)
		case 'L':
			longName, err = r.longText(h.Size)
		case 'K':
			longLink, err = r.longText(h.Size)
		case 'V': // a volume label
			err = r.payload(nil, h.Size)
			err = errors.Join(err, r.skipPayload())
		default:
			return r.entry(longName, longLink)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *Reader) countHeader() error {
	if r.headers++; r.headers > r.limits.Entries {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, r.limits.Entries)
	}
	return nil
}

// entry completes r.header with what came before it.
func (r *Reader) entry(longName, longLink string) (*Header, error) {
	h := &r.header
	r.sparse = sparseRecords{size: -1, fragments: r.sparse.fragments[:0]}
	for _, records := range [][]byte{r.global, r.records} {
		err := eachRecord(records, func(key string, value []byte) error { return r.record(h, key, value) })
		if err != nil {
			return nil, err
		}
	}
	if longName != "" {
		h.Name = longName
	}
	if longLink != "" {
		h.Linkname = longLink
	}
	if h.Size < 0 {
		return nil, fmt.Errorf("%w: size %d", ErrFormat, h.Size)
	}
	old := h.Type == 'S'
	switch h.Type {
	case 0, '7', 'S':
		h.Type = TypeRegular
	case 'D': // a directory of an incremental GNU archive, with its listing as payload
		return h, r.directoryListing()
	}
	if h.Type == TypeRegular {
		return h, r.regular(h, old)
	}
	switch h.Type {
	case TypeHardlink, TypeSymlink, TypeChar, TypeBlock, TypeDirectory, TypeFIFO:
		// Some writers repeat the size of the target here; no payload follows.
		h.Size = 0
	case TypeSocket:
		return nil, fmt.Errorf("%w: type %q", ErrFormat, byte(h.Type))
	}
	return h, r.payload(nil, h.Size)
}

func (r *Reader) directoryListing() error {
	size := r.header.Size
	r.header.Type, r.header.Size = TypeDirectory, 0
	return r.payload(nil, size)
}

func (r *Reader) regular(h *Header, old bool) error {
	stored, before := h.Size, r.consumed
	if stored > r.limits.Bytes-r.consumed {
		return r.tooLong()
	}
	if err := r.sparseFile(h, old); err != nil {
		return err
	}
	if h.Sparse != nil && !old {
		stored -= r.consumed - before
	}
	if n := len(h.Name); n > 0 && h.Name[n-1] == '/' {
		// Before ustar had a type for directories, a slash at the end said it.
		h.Type, h.Size, h.Sparse = TypeDirectory, 0, nil
	}
	return r.payload(h.Sparse, stored)
}

// payload sets up what Chunk returns: stored bytes, spread over fragments unless those are nil.
func (r *Reader) payload(fragments []Fragment, stored int64) error {
	if stored > r.limits.Bytes-r.consumed {
		return r.tooLong()
	}
	if fragments == nil {
		r.dense[0] = Fragment{Length: stored}
		fragments = r.dense[:]
	} else {
		fragments = append([]Fragment(nil), fragments...) // Chunk eats them; the header keeps its own
	}
	r.fragments = fragments
	r.pad = -stored & (BlockSize - 1)
	return nil
}

// Chunk returns the next piece of the payload and its offset in the file, or io.EOF. The slice is valid until the
// next call of any method.
func (r *Reader) Chunk() (data []byte, offset int64, err error) {
	for len(r.fragments) > 0 && r.fragments[0].Length == 0 {
		r.fragments = r.fragments[1:]
	}
	if len(r.fragments) == 0 {
		return nil, 0, io.EOF
	}
	if r.pos == r.end {
		r.pos, r.end = 0, 0
		if err := r.fill(); err != nil {
			return nil, 0, err
		}
	}
	f := &r.fragments[0]
	n := min(int64(r.end-r.pos), f.Length)
	data, offset = r.buf[r.pos:r.pos+int(n)], f.Offset
	r.pos += int(n)
	f.Offset += n
	f.Length -= n
	return data, offset, r.consume(n)
}

// Drain reads the source to its end and drops what it finds, so that whoever counts or hashes the source has
// seen every byte. It is meant for the time after Next has returned io.EOF.
func (r *Reader) Drain() error {
	for {
		n := r.end - r.pos
		r.pos, r.end = 0, 0
		if err := r.consume(int64(n)); err != nil {
			return err
		}
		if err := r.fill(); r.atEOF() {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *Reader) skipPayload() error {
	for {
		if _, _, err := r.Chunk(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	_, err := r.take(int(r.pad))
	r.pad = 0
	return err
}

// meta appends a payload of records to buf.
func (r *Reader) meta(buf []byte, size int64) ([]byte, error) {
	if size < 0 || size > r.limits.Records {
		return nil, fmt.Errorf("%w: %d bytes of records for one entry, at most %d", ErrLimit, size, r.limits.Records)
	}
	if err := r.payload(nil, size); err != nil {
		return nil, err
	}
	for {
		data, _, err := r.Chunk()
		if errors.Is(err, io.EOF) {
			return buf, r.skipPayload()
		}
		if err != nil {
			return nil, err
		}
		buf = append(buf, data...)
	}
}

func (r *Reader) longText(size int64) (string, error) {
	b, err := r.meta(nil, size)
	return text(b), err
}

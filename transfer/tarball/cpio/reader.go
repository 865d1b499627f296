package cpio

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"berth/transfer/tarball/pax"
)

// bufferSize is what is read at once, as in package pax.
const bufferSize = 256 << 10

// Reader reads an archive entry by entry: Next, then Chunk until io.EOF, if the payload is wanted.
// It reads ahead of what it returns.
type Reader struct {
	src      *bufio.Reader
	limits   pax.Limits
	format   *format
	consumed int64 // bytes handed out or dropped
	headers  int64
	ended    bool

	raw    header
	text   []byte // of names and links, reused
	header pax.Header
	links  links
	ready  []pending // what is due before the next header

	offset, left, pad int64 // of the payload
	sum               uint32
	check             bool
}

// pending are names of one file that can be returned now.
type pending struct {
	file  *file // to be made, empty, as the first of names; nil if target is there
	names []string
	to    string
}

// NewReader returns a reader of the archive that src delivers.
func NewReader(src io.Reader, limits pax.Limits) *Reader {
	return &Reader{src: bufio.NewReaderSize(src, bufferSize), limits: limits.WithDefaults()}
}

// Offset is the number of bytes of the archive that have been used.
func (r *Reader) Offset() int64 { return r.consumed }

// Next goes to the next entry and drops what is left of the current one. After the trailer it returns io.EOF.
// Other errors wrap pax.ErrFormat, pax.ErrTruncated, pax.ErrLimit or what the source reported.
func (r *Reader) Next() (*pax.Header, error) {
	if err := r.skipPayload(); err != nil {
		return nil, err
	}
	for {
		if len(r.ready) > 0 {
			return r.pending()
		}
		if r.ended {
			return nil, io.EOF
		}
		name, err := r.readHeader()
		if err != nil {
			return nil, err
		}
		if name == trailer {
			r.ended = true
			r.left, r.pad = 0, 0
			for _, f := range r.links.empty() {
				r.ready = append(r.ready, pending{file: f, names: f.waiting})
			}
			continue
		}
		h, err := r.entry(name)
		if h != nil || err != nil {
			return h, err
		}
		if err := r.skipPayload(); err != nil {
			return nil, err
		}
	}
}

// pending returns the next name that had to wait.
func (r *Reader) pending() (h *pax.Header, err error) {
	p := &r.ready[0]
	name := p.names[0]
	p.names = p.names[1:]
	if p.file != nil {
		r.header, err = p.file.hdr.entry()
		r.header.Name = name
		p.file, p.to = nil, name
	} else {
		r.header = pax.Header{Name: name, Linkname: p.to, Type: pax.TypeHardlink}
	}
	if len(p.names) == 0 {
		r.ready = r.ready[1:]
	}
	return &r.header, err
}

// readHeader takes a header with its name into r.raw, and prepares for the payload.
func (r *Reader) readHeader() (name string, err error) {
	magic, err := r.src.Peek(MagicLen)
	if err != nil {
		return "", r.sourceError(err)
	}
	if r.format == nil {
		if r.format = detect(magic); r.format == nil {
			return "", fmt.Errorf("%w: not a cpio archive", pax.ErrFormat)
		}
	}
	if !bytes.HasPrefix(magic, []byte(r.format.magic)) {
		return "", fmt.Errorf("%w: no header where one has to be", pax.ErrFormat)
	}
	if r.headers++; r.headers > r.limits.Entries {
		return "", fmt.Errorf("%w: more than %d entries", pax.ErrLimit, r.limits.Entries)
	}
	b, err := r.take(int64(r.format.length))
	if err != nil {
		return "", err
	}
	if err := r.format.parse(b, &r.raw); err != nil {
		return "", err
	}
	if name, err = r.name(); err != nil {
		return "", err
	}
	return name, r.payload()
}

// name takes the name behind a header. Some writers fill it up with NULs to align the payload.
func (r *Reader) name() (string, error) {
	n := r.raw.nameSize
	if n == 0 {
		return "", fmt.Errorf("%w: entry without a name", pax.ErrFormat)
	}
	b, err := r.takeText("name", n)
	if err != nil {
		return "", err
	}
	if b[n-1] != 0 {
		return "", fmt.Errorf("%w: name without an end", pax.ErrFormat)
	}
	name := string(bytes.TrimRight(b, "\x00"))
	if name == trailer {
		return name, nil // some archives end right here
	}
	_, err = r.take(r.padding(int64(r.format.length) + n))
	return name, err
}

func (r *Reader) padding(n int64) int64 { return -n & (r.format.align - 1) }

// payload sets up what Chunk returns.
func (r *Reader) payload() error {
	size := r.raw.size
	if size > r.limits.Bytes-r.consumed {
		return r.tooLong()
	}
	r.offset, r.left, r.pad = 0, size, r.padding(size)
	r.sum = 0
	// What links have in place of content, and special files, is not part of the sum.
	r.check = r.format.sums && size > 0 && r.raw.mode&kindMask == kindRegular
	return nil
}

// entry completes r.header, or returns nil if the name has to wait.
func (r *Reader) entry(name string) (h *pax.Header, err error) {
	if r.header, err = r.raw.entry(); err != nil {
		return nil, err
	}
	h = &r.header
	h.Name = name
	switch h.Type {
	case pax.TypeRegular:
		h.Size = r.raw.size
	case pax.TypeSymlink:
		if h.Linkname, err = r.linkText(); err != nil {
			return nil, err
		}
	case pax.TypeDirectory:
		return h, nil // their count of links means something else
	}
	if r.raw.nlink < 2 {
		return h, nil
	}
	return r.link(h)
}

// link returns an entry of a file that has several names, or nil if this one has to wait for the content.
func (r *Reader) link(h *pax.Header) (*pax.Header, error) {
	f := r.links.find(&r.raw)
	if f == nil {
		var err error
		if f, err = r.links.add(&r.raw); err != nil {
			return nil, err
		}
	}
	defer r.links.came(f)
	if f.name != "" {
		*h = pax.Header{Name: h.Name, Linkname: f.name, Type: pax.TypeHardlink}
		return h, nil
	}
	if !r.format.once || h.Type != pax.TypeRegular || h.Size > 0 {
		if len(f.waiting) > 0 {
			r.ready = append(r.ready, pending{names: f.waiting, to: h.Name})
			f.waiting = nil
		}
		f.hdr.size, f.hdr.mtime = r.raw.size, r.raw.mtime
		return h, r.links.settle(f, h.Name)
	}
	if err := r.links.hold(f, h.Name); err != nil {
		return nil, err
	}
	if f.left == 1 { // the last name, and still no content: the file is empty
		r.ready = append(r.ready, pending{file: f, names: f.waiting})
		f.waiting = nil
	}
	return nil, nil //nolint:nilnil // says "not yet", see above
}

// linkText takes the payload of a symbolic link.
func (r *Reader) linkText() (string, error) {
	b, err := r.takeText("symbolic link", r.left)
	r.left = 0
	return string(bytes.TrimRight(b, "\x00")), err
}

// Chunk returns the next piece of the payload and its offset in the file, or io.EOF. The slice is valid until the
// next call of any method. The last piece is returned only if the checksum that the archive may have is right.
func (r *Reader) Chunk() (data []byte, offset int64, err error) {
	if r.left == 0 || r.header.Type == pax.TypeHardlink {
		return nil, 0, io.EOF
	}
	return r.chunk()
}

func (r *Reader) chunk() (data []byte, offset int64, err error) {
	if _, err := r.src.Peek(1); err != nil {
		return nil, 0, r.sourceError(err)
	}
	n := min(int64(r.src.Buffered()), r.left)
	if data, err = r.take(n); err != nil {
		return nil, 0, err
	}
	offset = r.offset
	r.offset += n
	r.left -= n
	if r.check {
		for _, c := range data {
			r.sum += uint32(c)
		}
		if r.left == 0 && r.sum != r.raw.sum {
			return nil, 0, fmt.Errorf("%w: checksum of the content is %#x, not %#x", pax.ErrFormat, r.sum, r.raw.sum)
		}
	}
	return data, offset, nil
}

func (r *Reader) skipPayload() error {
	for r.left > 0 {
		if _, _, err := r.chunk(); err != nil {
			return err
		}
	}
	_, err := r.take(r.pad)
	r.pad = 0
	return err
}

// Drain reads the source to its end and drops what it finds, so that whoever counts or hashes the source has
// seen every byte. It is meant for the time after Next has returned io.EOF.
func (r *Reader) Drain() error {
	for {
		_, err := r.src.Peek(1)
		if atEOF(err) {
			return nil
		}
		if err != nil {
			return r.sourceError(err)
		}
		if _, err := r.take(int64(r.src.Buffered())); err != nil {
			return err
		}
	}
}

// take returns the next n bytes, at most bufferSize. The slice is valid until the next read: to discard what is in the
// buffer does not move it.
func (r *Reader) take(n int64) ([]byte, error) {
	b, err := r.src.Peek(int(n))
	if err != nil {
		return nil, r.sourceError(err)
	}
	if _, err := r.src.Discard(len(b)); err != nil {
		return nil, r.sourceError(err)
	}
	return b, r.consume(n)
}

// takeText returns the next n bytes, valid until the next text.
func (r *Reader) takeText(what string, n int64) ([]byte, error) {
	if n > r.limits.Records {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d", pax.ErrLimit, what, n, r.limits.Records)
	}
	if int64(cap(r.text)) < n {
		r.text = make([]byte, n)
	}
	r.text = r.text[:n]
	if _, err := io.ReadFull(r.src, r.text); err != nil {
		return nil, r.sourceError(err)
	}
	return r.text, r.consume(n)
}

func (r *Reader) consume(n int64) error {
	if r.consumed += n; r.consumed > r.limits.Bytes {
		return r.tooLong()
	}
	return nil
}

func (r *Reader) tooLong() error {
	return fmt.Errorf("%w: more than %d bytes", pax.ErrLimit, r.limits.Bytes)
}

// sourceError says why the source has no more where the archive needs it.
func (r *Reader) sourceError(err error) error {
	if atEOF(err) {
		return fmt.Errorf("%w after %d bytes", pax.ErrTruncated, r.consumed)
	}
	return fmt.Errorf("read archive: %w", err)
}

// atEOF compares without unwrapping: an error that has io.EOF as its cause is not the end of the source.
func atEOF(err error) bool {
	return err == io.EOF || err == io.ErrUnexpectedEOF //nolint:errorlint // see above
}

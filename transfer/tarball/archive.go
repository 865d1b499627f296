package tarball

import (
	"io"

	"berth/transfer/tarball/cpio"
	"berth/transfer/tarball/pax"
)

// archive is what is unpacked, whatever its format.
type archive interface {
	// Next goes to the next entry; io.EOF is the end of the archive. The header is valid until the next call.
	Next() (*pax.Header, error)
	// Chunk returns the next piece of the entry's payload and its offset in the file, io.EOF after the last. The
	// slice is valid until the next call of any method.
	Chunk() (data []byte, offset int64, err error)
	// Drain reads the source to its end, beyond the end of the archive.
	Drain() error
	// Offset is how many bytes of the source have been used.
	Offset() int64
}

var (
	_ archive = (*pax.Reader)(nil)
	_ archive = (*cpio.Reader)(nil)
)

// open looks at the first bytes of an archive for its format. A tar archive begins with a name, which may be any;
// the checksum of its header says that it is one. What is neither is left to the reader of tar to refuse.
func open(r io.Reader, limits Limits) archive {
	head := make([]byte, pax.BlockSize)
	n, err := io.ReadFull(r, head)
	whole := &headed{head: head[:n], err: err, r: r}
	if cpio.Detect(whole.head) && !pax.IsHeader(whole.head) {
		return cpio.NewReader(whole, limits)
	}
	return pax.NewReader(whole, limits)
}

// headed is a stream whose head was read already. The first read returns head and more at once, so that the reads of
// the stream stay aligned to the buffers of what delivers it.
type headed struct {
	head []byte
	err  error // what ended the head too early
	r    io.Reader
}

func (h *headed) Read(p []byte) (n int, err error) {
	if len(h.head) > 0 {
		n = copy(p, h.head)
		h.head = h.head[n:]
		if len(h.head) > 0 || n == len(p) {
			return n, nil
		}
	}
	if h.err == io.ErrUnexpectedEOF { //nolint:errorlint // only ReadFull's own
		return n, io.EOF
	}
	if h.err != nil {
		return n, h.err
	}
	more, err := h.r.Read(p[n:])
	return n + more, err
}

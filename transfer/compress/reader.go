package compress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// bufferSize is how much is read from a source, and copied to a sink, at once.
const bufferSize = 256 << 10

// maxWindow is the most that a stream may ask a decoder to remember.
const maxWindow = 128 << 20

// Reader decodes one compressed stream. It is not safe for concurrent use.
type Reader struct {
	format Format
	source *source
	body   io.ReadCloser
	err    error
}

var (
	_ io.ReadCloser = (*Reader)(nil)
	_ io.WriterTo   = (*Reader)(nil)
)

// NewReader looks at the first bytes of r and returns a Reader of what they
// begin. Fewer than [MagicLen] bytes, and those of no known format, are passed
// through as they are.
//
// The Reader must be closed. The end of ctx ends a child process, but not a read
// from r: whoever waits on a silent peer ends that read itself. r is read to its
// end before the Reader reports the end, and an error of r is returned by the
// Reader in preference to what the lack of data led to. Nothing reads from r
// once Close has returned.
func (t Tools) NewReader(ctx context.Context, r io.Reader) (*Reader, error) {
	src := &source{r: r}
	in := bufio.NewReaderSize(src, bufferSize)
	prefix, err := in.Peek(MagicLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read start of data: %w", err)
	}
	d := &Reader{format: Detect(prefix), source: src}
	if d.body, err = t.decoder(ctx, d.format, in); err != nil {
		return nil, d.judge(err)
	}
	return d, nil
}

func (t Tools) decoder(ctx context.Context, f Format, in *bufio.Reader) (io.ReadCloser, error) {
	switch f {
	case None:
		return plain{in}, nil
	case Gzip:
		return newGzipReader(in)
	case Bzip2:
		return newBzip2Reader(in)
	case XZ:
		return t.newXZReader(ctx, in)
	case Zstd:
		return newZstdReader(in)
	default:
		return nil, ErrUnsupported
	}
}

// Format returns the format that was recognised.
func (r *Reader) Format() Format { return r.format }

// Read returns decoded bytes. [io.EOF] means that the whole stream was decoded
// and passed its checks.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.body.Read(p)
	if err != nil {
		r.err = r.judge(err)
	}
	return n, r.err
}

// sparseBody is a decoder that knows of zeros before it makes them.
type sparseBody interface {
	ReadSparse(p []byte) (n int, zeros int64, err error)
}

// ReadSparse is Read for callers that want to know of long runs of zeros rather
// than get them. It returns either n bytes in p or how many zeros come next, which
// are passed over; and like Read an error, but never together with zeros. Short
// runs, and those in formats that do not tell, come as bytes.
func (r *Reader) ReadSparse(p []byte) (n int, zeros int64, err error) {
	body, ok := r.body.(sparseBody)
	if !ok || r.err != nil {
		n, err = r.Read(p)
		return n, 0, err
	}
	if n, zeros, err = body.ReadSparse(p); err != nil {
		r.err = r.judge(err)
	}
	return n, zeros, r.err
}

// WriteTo decodes all that is left to w. An error of w is returned as it is.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	if ended(r.err) {
		return 0, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	out := &sink{w: w}
	if direct, ok := r.body.(io.WriterTo); ok {
		n, err = direct.WriteTo(out)
	} else {
		n, err = io.CopyBuffer(out, struct{ io.Reader }{r.body}, make([]byte, bufferSize))
	}
	if out.err != nil {
		r.err = out.err
		return n, out.err
	}
	if err == nil {
		err = io.EOF
	}
	if r.err = r.judge(err); ended(r.err) {
		return n, nil
	}
	return n, r.err
}

// Close ends the decoding, wherever it is, and the child process if there is
// one. It waits for a read from the source that is under way.
func (r *Reader) Close() error {
	if errors.Is(r.err, ErrClosed) {
		return nil
	}
	r.err = ErrClosed
	r.source.closed.Store(true)
	if err := r.body.Close(); err != nil {
		return fmt.Errorf("close %s decoder: %w", r.format, err)
	}
	return nil
}

// judge finds the cause of what a decoder returned.
func (r *Reader) judge(err error) error {
	if cause := r.source.err.Load(); cause != nil {
		return fmt.Errorf("read data to decode: %w", *cause)
	}
	if ended(err) {
		return io.EOF
	}
	known := []error{
		io.ErrUnexpectedEOF, ErrTrailingData, ErrUnsupported, ErrMemory, ErrCorrupt,
		errChild, context.Canceled, context.DeadlineExceeded,
	}
	for _, k := range known {
		if errors.Is(err, k) {
			return fmt.Errorf("decode %s: %w", r.format, err)
		}
	}
	return fmt.Errorf("decode %s: %w: %w", r.format, ErrCorrupt, err)
}

// ended tells the orderly end from errors that wrap io.EOF, as those of net/http
// for a lost connection do.
func ended(err error) bool {
	return err == io.EOF //nolint:errorlint // only the bare value is the end
}

// source remembers the error of a reader, which decoders replace by their own, and
// ends when the Reader is closed, for those that read ahead.
type source struct {
	r      io.Reader
	err    atomic.Pointer[error]
	closed atomic.Bool
}

func (s *source) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, ErrClosed
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// sink remembers the error of a writer.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// plain passes data through.
type plain struct{ *bufio.Reader }

func (plain) Close() error { return nil }

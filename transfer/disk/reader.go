package disk

import "io"

// SparseReader is a reader that tells of long runs of zeros instead of giving them, as decoders of package compress do.
// ReadSparse returns either n bytes in p or how many zeros come next, which it passes over; and like Read an error, but
// none together with zeros.
type SparseReader interface {
	ReadSparse(p []byte) (n int, zeros int64, err error)
}

// Sparse returns r as a SparseReader, if need be one that gives every zero.
func Sparse(r io.Reader) SparseReader {
	if s, ok := r.(SparseReader); ok {
		return s
	}
	return plain{r}
}

type plain struct{ io.Reader }

func (r plain) ReadSparse(p []byte) (n int, zeros int64, err error) {
	n, err = r.Read(p)
	return n, 0, err
}

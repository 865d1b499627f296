package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// PrefixLen is how many bytes of an image IsQcow2 needs.
const PrefixLen = 4

const magic = "QFI\xfb"

// IsQcow2 tells whether an image that starts like this is a qcow2 image, of any version.
func IsQcow2(prefix []byte) bool { return strings.HasPrefix(string(prefix), magic) }

// Header lengths: all of version 2, the least of version 3, and the bytes of version 3 that this package knows.
const (
	headerSize2   = 72
	headerSize3   = 104
	headerKnown   = 112
	maxNameLength = 1023
)

const (
	minClusterBits = 9
	maxClusterBits = 21
	// maxL1 is what QEMU allows: a first-level table of 256 MiB.
	maxL1 = 32 << 20
)

// Incompatible features: who does not know one of them must not use the image.
const (
	// featureDirty: reference counts may be wrong. Reading does not use them.
	featureDirty         = 1 << 0
	featureCorrupt       = 1 << 1
	featureExternalData  = 1 << 2
	featureCompression   = 1 << 3
	featureExtendedL2    = 1 << 4
	compressionDeflate   = 0
	compressionZstandard = 1
)

// image is a qcow2 image whose header has been checked.
type image struct {
	file     *os.File
	fileSize int64
	version  uint32
	bits     uint  // of an offset in a cluster
	cluster  int64 // bytes
	size     int64 // of the disk
	l1Offset int64
	l1Count  int64 // entries that the disk needs
	header   int64 // bytes
	zstd     bool
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}

// openImage reads and checks the header of an image. A sizeMax above zero bounds the size of the disk.
func openImage(f *os.File, sizeMax int64) (*image, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("size of qcow2 image: %w", err)
	}
	h := make([]byte, headerKnown)
	n, err := f.ReadAt(h, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read qcow2 header: %w", err)
	}
	if !IsQcow2(h[:n]) {
		return nil, corrupt("no qcow2 signature")
	}
	if n < headerSize2 {
		return nil, corrupt("header: %w", io.ErrUnexpectedEOF)
	}
	q := &image{
		file:     f,
		fileSize: info.Size(),
		version:  binary.BigEndian.Uint32(h[4:]),
		header:   headerSize2,
	}
	if err := q.features(h, n); err != nil {
		return nil, err
	}
	if err := q.backing(h); err != nil {
		return nil, err
	}
	if method := binary.BigEndian.Uint32(h[32:]); method != 0 {
		return nil, fmt.Errorf("%w (method %d)", ErrEncrypted, method)
	}
	if err := q.geometry(h, sizeMax); err != nil {
		return nil, err
	}
	return q, nil
}

func (q *image) features(h []byte, n int) error {
	switch q.version {
	case 2:
		return nil
	case 3:
	default:
		return unsupported("version %d", q.version)
	}
	if n < headerSize3 {
		return corrupt("header: %w", io.ErrUnexpectedEOF)
	}
	q.header = int64(binary.BigEndian.Uint32(h[100:]))
	if q.header < headerSize3 || q.header > q.fileSize {
		return corrupt("header of %d bytes", q.header)
	}
	compression := byte(compressionDeflate)
	if q.header > headerSize3 && n > headerSize3 {
		compression = h[headerSize3]
	}
	features := binary.BigEndian.Uint64(h[72:])
	switch rest := features &^ (featureDirty | featureCompression); {
	case rest&featureCorrupt != 0:
		return corrupt("marked so by its last user")
	case rest&featureExternalData != 0:
		return unsupported("data in an external file")
	case rest&featureExtendedL2 != 0:
		return unsupported("subclusters")
	case rest != 0:
		return unsupported("incompatible features %#x", rest)
	case features&featureCompression != 0 != (compression != compressionDeflate):
		return corrupt("compression type %d does not fit the feature bits", compression)
	case compression > compressionZstandard:
		return unsupported("compression type %d", compression)
	}
	q.zstd = compression == compressionZstandard
	return nil
}

// backing refuses an image with a backing file: without that, all that the image does not hold would read as zeros.
func (q *image) backing(h []byte) error {
	offset, length := binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint32(h[16:])
	if offset == 0 {
		return nil
	}
	if offset > uint64(q.fileSize) || length > maxNameLength {
		return fmt.Errorf("%w, whose name cannot be read", ErrBackingFile)
	}
	name := make([]byte, length)
	if _, err := q.file.ReadAt(name, int64(offset)); err != nil {
		return fmt.Errorf("%w, whose name cannot be read: %w", ErrBackingFile, err)
	}
	return fmt.Errorf("%w: %q", ErrBackingFile, name)
}

func (q *image) geometry(h []byte, sizeMax int64) error {
	bits := binary.BigEndian.Uint32(h[20:])
	size := binary.BigEndian.Uint64(h[24:])
	l1Size := int64(binary.BigEndian.Uint32(h[36:]))
	l1Offset := binary.BigEndian.Uint64(h[40:])
	if bits < minClusterBits || bits > maxClusterBits {
		return corrupt("clusters of 2^%d bytes", bits)
	}
	q.bits, q.cluster = uint(bits), 1<<bits
	if q.header > q.cluster {
		return corrupt("header of %d bytes is larger than a cluster", q.header)
	}
	if size > math.MaxInt64-uint64(q.cluster) || sizeMax > 0 && size > uint64(sizeMax) {
		return fmt.Errorf("%w: disk of %d bytes", ErrTooLarge, size)
	}
	q.size = int64(size)
	// Each entry of the first level stands for one second-level table, a cluster of eight-byte entries.
	perEntry := q.cluster / 8 << bits
	q.l1Count = q.size / perEntry
	if q.size%perEntry != 0 {
		q.l1Count++
	}
	if l1Size > maxL1 || q.l1Count > l1Size {
		return corrupt("first-level table of %d entries for a disk of %d bytes", l1Size, size)
	}
	if q.l1Count > 0 && (l1Offset%uint64(q.cluster) != 0 || l1Offset == 0 ||
		l1Offset > uint64(q.fileSize) || q.l1Count*8 > q.fileSize-int64(l1Offset)) {
		return corrupt("first-level table of %d entries at %d in a file of %d bytes", q.l1Count, l1Offset, q.fileSize)
	}
	q.l1Offset = int64(l1Offset)
	return nil
}

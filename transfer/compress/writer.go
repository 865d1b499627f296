package compress

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"
)

// gzipBlock is how much input one core compresses at a time.
const gzipBlock = 512 << 10

// bzip2Input is how much input becomes one stream of bzip2: two blocks, with room
// for runs that become longer. To start a program takes a twentieth of the time that
// one block does.
const bzip2Input = 2 * 899_000

// maxCores bounds the cores that an encoder uses, and with them its memory: each
// has a block or a window of its own.
const maxCores = 4

// What xz(1) and its like may take: at level 6 each core has ten times the window
// in memory, and the blocks on their way in and out besides. The 8 MiB that level 6
// stands for would make that 94 MiB a core. With these, two cores take 36 MiB in
// all; files become about 5 % longer.
const (
	xzWindowSize = 1 << 20
	xzBlockSize  = 2 << 20
)

// NewWriter returns a writer that compresses to w, on several cores: gzip at level
// 6, zstd at level 3 with a checksum, xz at level 6 with a window of 1 MiB and
// CRC64, bzip2 at level 9. None passes data through. No encoder takes more than 40
// MiB, with its child if it has one.
//
// Close must be called; it writes what is left and returns the error of a child
// too, but does not close w. Where w fails, its error is in the chain of the
// error that Write or Close return. When ctx ends, a child is killed and its
// output stays incomplete.
func (t Tools) NewWriter(ctx context.Context, w io.Writer, f Format) (io.WriteCloser, error) {
	cores := min(runtime.GOMAXPROCS(0), maxCores)
	switch f {
	case None:
		return nopCloser{w}, nil
	case Gzip:
		z, err := pgzip.NewWriterLevel(w, 6)
		if err != nil {
			return nil, fmt.Errorf("set up gzip: %w", err)
		}
		if err := z.SetConcurrency(gzipBlock, 2*cores); err != nil {
			return nil, fmt.Errorf("set up gzip: %w", err)
		}
		return z, nil
	case Zstd:
		z, err := zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(3)),
			zstd.WithEncoderCRC(true),
			zstd.WithEncoderConcurrency(cores))
		if err != nil {
			return nil, fmt.Errorf("set up zstd: %w", err)
		}
		return z, nil
	case XZ:
		return t.newXZWriter(ctx, w)
	case Bzip2:
		return t.newBzip2Writer(ctx, w)
	default:
		return nil, fmt.Errorf("compress as %s: %w", f, ErrUnsupported)
	}
}

func (t Tools) newXZWriter(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	path := t.find("xz")
	if !isXZ(ctx, path) {
		z, err := xz.WriterConfig{DictCap: xzWindowSize}.NewWriter(w)
		if err != nil {
			return nil, fmt.Errorf("set up xz: %w", err)
		}
		return z, nil
	}
	return startWriter(ctx, w, path, "--compress", "--stdout", "--quiet", "--threads=2", "--check=crc64",
		fmt.Sprintf("--lzma2=preset=6,dict=%d", xzWindowSize), fmt.Sprintf("--block-size=%d", xzBlockSize))
}

// newBzip2Writer makes a stream of every two blocks, each with a program of its own:
// bzip2(1) uses one core, and what pbzip2(1) and lbzip2(1) take grows with the
// machine.
func (t Tools) newBzip2Writer(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	path := t.find("bzip2", "pbzip2", "lbzip2")
	if path == "" {
		return nil, fmt.Errorf("compress as bzip2: %w: none of bzip2, pbzip2 and lbzip2 is installed", ErrUnsupported)
	}
	return newSplitWriter(ctx, w, bzip2Input, func(ctx context.Context, w io.Writer, piece []byte) error {
		child, err := startWriter(ctx, w, path, "-z", "-c", "-9")
		if err != nil {
			return err
		}
		if _, err := child.Write(piece); err != nil {
			return err // the child has ended
		}
		return child.Close()
	}), nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

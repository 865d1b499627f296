package compress

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// zstdReader gives what a decoder makes of the frames, and between that the
// zeros which the decoder never saw. It relies on a decoder without goroutines:
// that one asks for the next block only once all of the last one was read, and
// decodes no more blocks in a call once one gave anything. So zeros that were left
// out during a call belong before what the call gave.
type zstdReader struct {
	frames  *zstdFrames
	decoder *zstd.Decoder
	zeros   int64  // come next
	held    []byte // come after the zeros
	err     error  // comes after that
}

func newZstdReader(in *bufio.Reader) (*zstdReader, error) {
	frames := newZstdFrames(in)
	decoder, err := zstd.NewReader(frames,
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, zstdError(err)
	}
	return &zstdReader{frames: frames, decoder: decoder}, nil
}

// zstdTold is how many zeros are told at least. Fewer come as bytes: to be told of
// each few is more work, for all behind this, than to have them.
const zstdTold = 64 << 10

func (z *zstdReader) Read(p []byte) (int, error) {
	n, zeros, err := z.ReadSparse(p)
	if zeros == 0 {
		return n, err
	}
	n = int(min(int64(len(p)), zeros))
	clear(p[:n])
	z.zeros = zeros - int64(n)
	return n, nil
}

// ReadSparse is what [Reader.ReadSparse] says.
func (z *zstdReader) ReadSparse(p []byte) (n int, zeros int64, err error) {
	if z.zeros == 0 && len(z.held) == 0 && z.err == nil && len(p) > 0 {
		if n, err = z.decode(p); z.zeros == 0 {
			z.err = err
			return n, 0, err
		}
		z.held, z.err = append(z.held[:0], p[:n]...), err
	}
	switch {
	case z.zeros >= zstdTold:
		zeros, z.zeros = z.zeros, 0
		return 0, zeros, nil
	case z.zeros > 0:
		n = int(min(int64(len(p)), z.zeros))
		clear(p[:n])
		z.zeros -= int64(n)
		return n, 0, nil
	case len(z.held) > 0:
		n = copy(p, z.held)
		z.held = z.held[n:]
		return n, 0, nil
	default:
		return 0, 0, z.err
	}
}

// decode reads from the decoder. What is known to be zeros goes to z.zeros, where
// it comes before the n bytes.
func (z *zstdReader) decode(p []byte) (n int, err error) {
	n, err = z.decoder.Read(p)
	z.zeros = z.frames.left()
	known, sizeErr := z.frames.decoded(p[:n])
	if known && z.zeros+int64(n) >= zstdTold {
		z.zeros += int64(n)
		n = 0
	}
	switch {
	case z.frames.err != nil:
		return n, z.frames.err
	case sizeErr != nil:
		return n, sizeErr
	default:
		return n, zstdError(err)
	}
}

func (z *zstdReader) Close() error {
	z.decoder.Close()
	return nil
}

// zstdError gives errors of the decoder the meaning they have here. The stream
// began with the magic of a frame, so another magic comes after a frame.
func zstdError(err error) error {
	switch {
	case errors.Is(err, zstd.ErrMagicMismatch):
		return ErrTrailingData
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return fmt.Errorf("%w: made with a dictionary", ErrUnsupported)
	default:
		return err
	}
}

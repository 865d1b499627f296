package compress

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

type zstdReader struct{ frames *zstd.Decoder }

func newZstdReader(in *bufio.Reader) (*zstdReader, error) {
	frames, err := zstd.NewReader(in,
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, zstdError(err)
	}
	return &zstdReader{frames}, nil
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.frames.Read(p)
	return n, zstdError(err)
}

func (z *zstdReader) WriteTo(w io.Writer) (int64, error) {
	n, err := z.frames.WriteTo(w)
	return n, zstdError(err)
}

func (z *zstdReader) Close() error {
	z.frames.Close()
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

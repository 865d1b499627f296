package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is beyond what a compressor can use on clusters of at most 2 MiB, with room for one that asks for more.
const maxWindow = 8 << 20

// unpacker expands compressed clusters, and keeps its buffers and decoders from one to the next. The zero value is ready.
type unpacker struct {
	in, out []byte
	source  bytes.Reader
	deflate io.ReadCloser
	zstd    *zstd.Decoder
}

// unpack expands a compressed cluster, the result is good until the next call. The stream may be followed by other bytes.
func (u *unpacker) unpack(q *image, offset, length int64) ([]byte, error) {
	if u.out == nil {
		u.out = make([]byte, q.cluster)
	}
	if int64(cap(u.in)) < length {
		u.in = make([]byte, length)
	}
	in := u.in[:min(length, q.fileSize-offset)]
	if err := q.read(in, offset); err != nil {
		return nil, fmt.Errorf("read qcow2 image: %w", err)
	}
	u.source.Reset(in)
	decoder, err := u.decoder(q.zstd)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(decoder, u.out); err != nil {
		return nil, corrupt("compressed cluster: %w", err)
	}
	return u.out, nil
}

func (u *unpacker) decoder(isZstd bool) (io.Reader, error) {
	switch {
	case isZstd && u.zstd == nil:
		d, err := zstd.NewReader(&u.source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, corrupt("compressed cluster: %w", err)
		}
		u.zstd = d
		return d, nil
	case isZstd:
		if err := u.zstd.Reset(&u.source); err != nil {
			return nil, corrupt("compressed cluster: %w", err)
		}
		return u.zstd, nil
	case u.deflate == nil:
		u.deflate = flate.NewReader(&u.source)
		return u.deflate, nil
	}
	resetter, ok := u.deflate.(flate.Resetter)
	if !ok {
		return nil, errors.New("deflate decoder cannot be used again")
	}
	if err := resetter.Reset(&u.source, nil); err != nil {
		return nil, fmt.Errorf("reset deflate decoder: %w", err)
	}
	return u.deflate, nil
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/transfer/compress"
	"berth/transfer/disk"
	"berth/transfer/tarball"
)

// Taker makes an image of decoded bytes. It reads r to its end.
type Taker func(ctx context.Context, r io.Reader) error

// Unpack decodes r, in whatever compression it comes, and hands the result to
// take. Decoding and taking overlap. Input that ends too early is an error even
// if take is content.
func Unpack(ctx context.Context, r io.Reader, take Taker) (err error) {
	decoder, err := compress.NewReader(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, decoder.Close()) }()
	ahead := NewAhead(decoder)
	defer func() { err = errors.Join(err, ahead.Close()) }()
	if err := take(ctx, ahead); err != nil {
		return err
	}
	// Whatever follows the image's own end belongs to the compressed stream,
	// whose checksum counts only once all of it was read.
	if _, err := io.Copy(io.Discard, ahead); err != nil {
		return fmt.Errorf("read past the end of the image: %w", err)
	}
	return nil
}

// TreeOptions bounds what a [Tree] takes.
type TreeOptions struct {
	// SizeMax bounds the sum of all files, in bytes; 0 means the default of
	// package tarball.
	SizeMax int64
	// Users is how many users and groups there are, in a user namespace; 0 means any number. What is of others, or takes
	// the host's root, is replaced or left out as package tarball says.
	Users uint32
	// TopMode are rights that the top of the tree gets besides its own.
	TopMode uint32
	// Warn is told what could not be kept and does no harm.
	Warn func(entry string, err error)
}

// Tree takes a tar or cpio archive and extracts it into the open directory dir.
func Tree(dir *os.File, o TreeOptions) Taker {
	return func(ctx context.Context, r io.Reader) error {
		return tarball.Extract(ctx, r, dir, tarball.ExtractOptions{
			Limits:   tarball.Limits{Bytes: o.SizeMax},
			Users:    o.Users,
			RootMode: o.TopMode,
			Warn:     o.Warn,
		})
	}
}

// Disk takes a disk image and writes it to target with holes for zeros. A qcow2
// image is written to scratch first, which must be empty and on the same file
// system, and moved from there to target cluster by cluster, so that the disk
// never holds it twice. sizeMax bounds the disk in bytes.
func Disk(target, scratch *os.File, sizeMax int64) Taker {
	return func(ctx context.Context, r io.Reader) error {
		buffered := peeked{bufio.NewReaderSize(r, disk.PrefixLen), disk.Sparse(r)}
		prefix, err := buffered.Peek(disk.PrefixLen)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !disk.IsQcow2(prefix) {
			_, err := disk.WriteSparse(ctx, target, buffered, sizeMax)
			return err
		}
		if _, err := disk.Hold(ctx, scratch, buffered, sizeMax); err != nil {
			return fmt.Errorf("hold the qcow2 image: %w", err)
		}
		return disk.ConvertQcow2(ctx, scratch, target, disk.Options{SizeMax: sizeMax})
	}
}

// peeked is a buffered reader that tells of zeros as the one behind it does, which
// must give its error again if it is asked again.
type peeked struct {
	*bufio.Reader
	behind disk.SparseReader
}

// ReadSparse empties the buffer first.
func (p peeked) ReadSparse(b []byte) (n int, zeros int64, err error) {
	if p.Buffered() == 0 {
		return p.behind.ReadSparse(b)
	}
	n, err = p.Read(b)
	return n, 0, err
}

// Plain takes a disk image and writes it to target as it comes, with holes for
// zeros. sizeMax bounds it in bytes.
func Plain(target *os.File, sizeMax int64) Taker {
	return func(ctx context.Context, r io.Reader) error {
		_, err := disk.WriteSparse(ctx, target, r, sizeMax)
		return err
	}
}

// Stream takes a disk image and writes all of its bytes to w, which may be a
// pipe or stand in the middle of a block device. If fill is set, zeros follow until
// sizeMax bytes are written.
func Stream(w io.Writer, sizeMax int64, fill bool) Taker {
	return func(ctx context.Context, r io.Reader) error {
		n, err := disk.Write(ctx, w, r, sizeMax)
		if err != nil || !fill {
			return err
		}
		return disk.WriteZeros(ctx, w, sizeMax-n)
	}
}

// Maker writes an image to w.
type Maker func(ctx context.Context, w io.Writer) error

// Pack writes what write makes to w, compressed as f.
func Pack(ctx context.Context, w io.Writer, f compress.Format, write Maker) error {
	encoder, err := compress.NewWriter(ctx, w, f)
	if err != nil {
		return err
	}
	if err := write(ctx, encoder); err != nil {
		return errors.Join(err, encoder.Close())
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("end the compressed stream: %w", err)
	}
	return nil
}

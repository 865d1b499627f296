package images

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
)

// NoLimit lifts a limit.
const NoLimit uint64 = math.MaxUint64

// ValidLimit reports whether an image can be limited to that many bytes: it is
// the size of a file, or [NoLimit].
func ValidLimit(bytes uint64) bool { return bytes <= math.MaxInt64 || bytes == NoLimit }

// SetLimit limits how many bytes an image may take up. Only subvolumes can be
// limited ([ErrNotSupported]), and only where the file system counts
// ([ErrNoQuota]): counting slows btrfs down, so that it is switched on by the
// administrator and never by a limit. Vendor and host images are refused with
// [ErrReadOnly]. A machine that runs from the image is no obstacle.
func (s *Store) SetLimit(ctx context.Context, img Image, bytes uint64) error {
	step := func(err error) error { return fmt.Errorf("limit image %q: %w", img.Name, err) }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case img.Host(), img.Vendor(), s.places.vendor(img.Path):
		return step(fmt.Errorf("%w: it belongs to the host", ErrReadOnly))
	case img.Type != TypeSubvolume:
		return step(fmt.Errorf("%w: only btrfs subvolumes can be limited", ErrNotSupported))
	}
	if err := limit(img.Path, bytes, btrfs.SetLimit); err != nil {
		return step(err)
	}
	return nil
}

// SetPoolLimit limits how many bytes all images of a class together may take up.
// It needs a quota group that counts them together ([ErrNoQuota]); one is never
// made, since that counts everything anew. Pools that are no subvolume are
// refused with [ErrNotSupported].
func (s *Store) SetPoolLimit(ctx context.Context, c Class, bytes uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pool := s.places.Pool[c]
	if pool == "" {
		return fmt.Errorf("limit pool: %w: no place for images of class %s", ErrNotSupported, c)
	}
	if err := limit(pool, bytes, btrfs.SetSubtreeLimit); err != nil {
		return fmt.Errorf("limit pool %s: %w", pool, err)
	}
	return nil
}

func limit(path string, bytes uint64, set func(*os.File, uint64) error) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = set(f, bytes)
	switch {
	case bytes == NoLimit && (errors.Is(err, btrfs.ErrNoQuota) || errors.Is(err, btrfs.ErrNoGroup)):
		return nil // there is none
	case errors.Is(err, btrfs.ErrNoGroup):
		return fmt.Errorf("%w: no quota group counts its subvolumes together (see btrfs-qgroup(8)): %w", ErrNoQuota, err)
	case errors.Is(err, btrfs.ErrNoQuota):
		return fmt.Errorf("%w: quota is off, or counts still; \"btrfs quota enable %s\" switches it on: %w", ErrNoQuota, path, err)
	case errors.Is(err, btrfs.ErrNotSubvolume):
		return fmt.Errorf("%w: it is no btrfs subvolume: %w", ErrNotSupported, err)
	}
	return err
}

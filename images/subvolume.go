package images

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
)

// subvolume keeps an image in a btrfs subvolume. Usage is known where quota is on.
type subvolume struct{ directory }

var _ backend = subvolume{}

func (subvolume) facts(e entry, img *Image) error {
	f, err := os.OpenFile(e.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := btrfs.Stat(f)
	if err != nil {
		return err
	}
	img.ReadOnly, img.Created, img.Modified = info.ReadOnly, info.Created, info.Modified
	quota, err := btrfs.ReadQuota(f)
	switch {
	case err == nil:
		img.Usage, img.UsageExclusive = quota.Referenced, quota.Exclusive
		img.Limit, img.LimitExclusive = quota.ReferencedLimit, quota.ExclusiveLimit
	case errors.Is(err, btrfs.ErrNoQuota), errors.Is(err, unix.EPERM):
	default:
		return err
	}
	return nil
}

func (subvolume) setReadOnly(path string, readOnly bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return btrfs.SetReadOnly(f, readOnly)
}

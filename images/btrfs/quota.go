package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNoQuota says that quota is off, or not yet or no longer counted right (rescan under way or needed), so that no
// usage is known.
var ErrNoQuota = errors.New("no btrfs quota")

// ErrNoGroup says that no quota group counts a subvolume and those nested in it together.
var ErrNoGroup = errors.New("no btrfs quota group for the subtree")

// NoLimit stands for a limit that is not set.
const NoLimit = math.MaxUint64

// Quota is what a subvolume takes up and may take up, in bytes.
type Quota struct {
	Referenced, Exclusive           uint64 // all of it; what is shared with no other subvolume
	ReferencedLimit, ExclusiveLimit uint64 // NoLimit if there is none
}

const quotaTree = 8

// Types of items in the quota tree.
const (
	itemStatus   = 240
	itemUsage    = 242
	itemLimit    = 244
	itemRelation = 246
)

// Flags of the status item.
const (
	statusOn           = 1 << 0
	statusRescan       = 1 << 1
	statusInconsistent = 1 << 2
)

// Flags that tell which fields of a limit hold.
const (
	limitReferenced = 1 << 0
	limitExclusive  = 1 << 1
)

// A group id has its level above bit 48; level 0 is for the subvolume of the lower bits alone.
const groupLevelAt = 48

type qgroupLimitArgs struct {
	group         uint64
	flags         uint64
	maxReferenced uint64
	maxExclusive  uint64
	_             [2]uint64
}

// ReadQuota reads usage and limits of a subvolume and of those nested in it, if a quota group counts these together (a
// group of a higher level with the subvolume's id, as systemd makes it), else of the subvolume alone. It needs
// CAP_SYS_ADMIN. The error is ErrNoQuota where nothing reliable is counted.
func ReadQuota(f *os.File) (Quota, error) {
	group, err := groupOf(f)
	if err != nil {
		return Quota{}, err
	}
	usage, err := searchOne(f, quotaTree, 0, itemUsage, group, 40)
	if err != nil {
		return Quota{}, quotaError(f, "read usage", err)
	}
	q := Quota{
		Referenced:      binary.LittleEndian.Uint64(usage[8:]),
		Exclusive:       binary.LittleEndian.Uint64(usage[24:]),
		ReferencedLimit: NoLimit,
		ExclusiveLimit:  NoLimit,
	}
	limit, err := searchOne(f, quotaTree, 0, itemLimit, group, 24)
	if errors.Is(err, errNoItem) {
		return q, nil
	} else if err != nil {
		return Quota{}, quotaError(f, "read limit", err)
	}
	flags := binary.LittleEndian.Uint64(limit)
	if flags&limitReferenced != 0 {
		q.ReferencedLimit = binary.LittleEndian.Uint64(limit[8:])
	}
	if flags&limitExclusive != 0 {
		q.ExclusiveLimit = binary.LittleEndian.Uint64(limit[16:])
	}
	return q, nil
}

// SetLimit limits the referenced bytes of the group that ReadQuota reads; NoLimit lifts the limit. The error is
// ErrNoQuota where quota is off.
func SetLimit(f *os.File, bytes uint64) error {
	group, err := groupOf(f)
	if err != nil {
		return err
	}
	return setLimit(f, group, bytes)
}

// SetSubtreeLimit is SetLimit for a group that counts nested subvolumes too; the error is ErrNoGroup if there is none.
func SetSubtreeLimit(f *os.File, bytes uint64) error {
	group, err := groupOf(f)
	if err != nil {
		return err
	}
	if group>>groupLevelAt == 0 {
		return fmt.Errorf("%s: %w", f.Name(), ErrNoGroup)
	}
	return setLimit(f, group, bytes)
}

func setLimit(f *os.File, group, bytes uint64) error {
	// All bits set in the value, which is NoLimit, is the kernel's sign for clearing it.
	args := qgroupLimitArgs{group: group, flags: limitReferenced, maxReferenced: bytes}
	if err := ioctl(f, qgroupLimit, unsafe.Pointer(&args)); err != nil {
		return quotaError(f, "set limit", err)
	}
	return nil
}

// groupOf finds the quota group to use for a subvolume, once it is sure that quota counts.
func groupOf(f *os.File) (uint64, error) {
	info, err := Stat(f)
	if err != nil {
		return 0, err
	}
	return groupOfID(f, info.ID)
}

// groupOfID is groupOf for the subvolume with an id, on the file system of f.
func groupOfID(f *os.File, id uint64) (uint64, error) {
	status, err := searchOne(f, quotaTree, 0, itemStatus, 0, 24)
	if err != nil {
		return 0, quotaError(f, "read status", err)
	}
	flags := binary.LittleEndian.Uint64(status[16:])
	if flags&statusOn == 0 || flags&(statusRescan|statusInconsistent) != 0 {
		return 0, fmt.Errorf("%s: %w", f.Name(), ErrNoQuota)
	}
	above, err := search(f, quotaTree, id, itemRelation, id+1, math.MaxUint64)
	if err != nil {
		return 0, quotaError(f, "read groups", err)
	}
	for _, relation := range above {
		// Items come in order, so the first one is of the lowest level.
		if relation.offset&(1<<groupLevelAt-1) == id {
			return relation.offset, nil
		}
	}
	return id, nil
}

func quotaError(f *os.File, step string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTCONN) || errors.Is(err, errNoItem) {
		err = fmt.Errorf("%w: %w", ErrNoQuota, err)
	}
	return fmt.Errorf("quota of %s: %s: %w", f.Name(), step, err)
}

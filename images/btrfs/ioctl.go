package btrfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Parts of an ioctl number, as in asm-generic/ioctl.h.
const (
	ioctlMagic  = 0x94
	ioctlWrite  = 1 << 30
	ioctlRead   = 2 << 30
	ioctlSizeAt = 16
	ioctlTypeAt = 8
)

const (
	snapCreateV2    = ioctlWrite | unsafe.Sizeof(volArgsV2{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 23
	subvolCreateV2  = ioctlWrite | unsafe.Sizeof(volArgsV2{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 24
	snapDestroy     = ioctlWrite | unsafe.Sizeof(volArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 15
	treeSearch      = ioctlRead | ioctlWrite | unsafe.Sizeof(searchArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 17
	subvolGetFlags  = ioctlRead | 8<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 25
	subvolSetFlags  = ioctlWrite | 8<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 26
	qgroupLimit     = ioctlRead | unsafe.Sizeof(qgroupLimitArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 43
	getSubvolInfo   = ioctlRead | unsafe.Sizeof(subvolInfoArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 60
	getSubvolRef    = ioctlRead | ioctlWrite | unsafe.Sizeof(rootrefArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 61
	inodeLookupUser = ioctlRead | ioctlWrite | unsafe.Sizeof(lookupUserArgs{})<<ioctlSizeAt | ioctlMagic<<ioctlTypeAt | 62
)

// flagReadOnly is the one flag of a subvolume that a program may set.
const flagReadOnly = 1 << 1

// flagInherit says that volArgsV2 leads to a qgroupInherit.
const flagInherit = 1 << 2

type volArgs struct {
	fd   int64
	name [4088]byte
}

type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	size    uint64 // of what inherit leads to
	inherit *qgroupInherit
	_       [2]uint64
	name    [4040]byte
}

type timespec struct {
	sec  uint64
	nsec uint32
	_    uint32
}

type subvolInfoArgs struct {
	treeid       uint64
	name         [256]byte
	parentID     uint64
	dirid        uint64
	generation   uint64
	flags        uint64
	uuid         [16]byte
	parentUUID   [16]byte
	receivedUUID [16]byte
	transids     [4]uint64
	ctime        timespec
	otime        timespec
	_            [2]timespec
	_            [8]uint64
}

type rootref struct{ treeid, dirid uint64 }

type rootrefArgs struct {
	minTreeid uint64
	refs      [255]rootref
	count     uint8
	_         [7]byte
}

type lookupUserArgs struct {
	dirid  uint64
	treeid uint64
	name   [256]byte
	path   [3824]byte
}

// ioctl runs one btrfs ioctl whose argument is a pointer.
func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
		if errno == 0 {
			return nil
		}
		if !errors.Is(errno, unix.EINTR) {
			return errno
		}
	}
}

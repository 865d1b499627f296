package btrfs

import (
	"encoding/binary"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoItem says that a tree has no item with the key asked for.
var errNoItem = errors.New("no such item in the tree")

type searchArgs struct {
	treeid                  uint64
	minObject, maxObject    uint64
	minOffset, maxOffset    uint64
	minTransid, maxTransid  uint64
	minType, maxType, items uint32
	_                       uint32
	_                       [4]uint64
	buf                     [3992]byte
}

// searchHeaderSize is that of struct btrfs_ioctl_search_header: transid, objectid, offset (64 bits), type, len (32 bits).
const searchHeaderSize = 3*8 + 2*4

// item is one entry of a btrfs tree.
type item struct {
	offset uint64
	data   []byte
}

// search returns the items of a tree that have this object id and type and an offset in [first, last]. It needs
// CAP_SYS_ADMIN. A tree that does not exist is ENOENT.
func search(f *os.File, tree, object uint64, kind uint32, first, last uint64) ([]item, error) {
	var items []item
	for {
		args := searchArgs{
			treeid:    tree,
			minObject: object, maxObject: object,
			minType: kind, maxType: kind,
			minOffset: first, maxOffset: last,
			maxTransid: ^uint64(0), items: ^uint32(0),
		}
		if err := ioctl(f, treeSearch, unsafe.Pointer(&args)); err != nil {
			return nil, err
		}
		rest := args.buf[:]
		for range args.items {
			offset := binary.NativeEndian.Uint64(rest[16:])
			size := binary.NativeEndian.Uint32(rest[28:])
			items = append(items, item{offset, rest[searchHeaderSize:][:size]})
			rest = rest[searchHeaderSize+size:]
			if offset >= last {
				return items, nil
			}
			first = offset + 1
		}
		if args.items == 0 {
			return items, nil
		}
	}
}

// searchOne returns the data of one item; what must be there has at least size bytes.
func searchOne(f *os.File, tree, object uint64, kind uint32, offset uint64, size int) ([]byte, error) {
	items, err := search(f, tree, object, kind, offset, offset)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, errNoItem
	}
	if len(items[0].data) < size {
		return nil, unix.EBADMSG
	}
	return items[0].data, nil
}

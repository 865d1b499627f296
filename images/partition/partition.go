// Package partition finds the root file system on a disk by its partition table.
// The table is foreign: every number in it meets a bound.
package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrNoRoot says that it cannot be told where the root file system of a disk
// is.
var ErrNoRoot = errors.New("no root file system found on the disk")

// Extent is a part of a disk, in bytes; of size 0 it is not there.
type Extent struct {
	Whole        bool // all of it, there are no partitions
	Offset, Size int64
}

// System is where on a disk a system is, at least one of the two.
type System struct {
	Root Extent
	Usr  Extent // what belongs to /usr, where that has a file system of its own
}

const (
	sector = 512 // of an MBR, and the smallest
	// maxEntries bounds the partitions that are looked at; 128 is customary.
	maxEntries = 512
	// maxEntrySize bounds one entry; 128 is customary.
	maxEntrySize = 512
	// flagNoAuto marks partitions that are not to be found this way.
	flagNoAuto = 1 << 63
)

// Root is Find for who needs the root file system: [ErrNoRoot] where /usr is all
// that there is.
func Root(disk io.ReaderAt, size int64) (Extent, error) {
	found, err := Find(disk, size)
	if err == nil && found.Root.Size == 0 {
		err = fmt.Errorf("the disk has /usr only: %w", ErrNoRoot)
	}
	return found.Root, err
}

// Find finds the system on a disk of that many bytes: of a GPT, with sectors of 512
// to 4096 bytes, the partitions marked as root and as /usr for this machine's
// architecture, and in place of the first the only one of Linux data; the only Linux
// partition of an MBR; the whole disk, when it has no partition table. [ErrNoRoot]
// if it cannot be told.
func Find(disk io.ReaderAt, size int64) (System, error) {
	mbr := make([]byte, 2*sector)
	if n, err := disk.ReadAt(mbr, 0); err != nil {
		return System{}, fmt.Errorf("read first %d of %d bytes: %w", n, len(mbr), err)
	}
	mbr = mbr[:sector]
	var found System
	table, err := findGPT(disk)
	switch {
	case err != nil:
	case table != nil:
		found, err = table.system(disk)
	case mbr[510] == 0x55 && mbr[511] == 0xaa && looksLikeTable(mbr[446:510]):
		found.Root, err = rootOfMBR(mbr[446:510])
	default:
		found.Root = Extent{Whole: true, Size: size}
	}
	if err != nil {
		return System{}, err
	}
	for _, where := range []Extent{found.Root, found.Usr} {
		if where.Size > 0 && (where.Offset >= size || where.Size > size-where.Offset) {
			return System{}, fmt.Errorf("partition at %d reaches past the end of the disk: %w", where.Offset, ErrNoRoot)
		}
	}
	return found, nil
}

// looksLikeTable tells an MBR from the boot sector of a file system, which has
// the same signature: the first byte of each entry is a flag.
func looksLikeTable(entries []byte) bool {
	used := false
	for i := range 4 {
		entry := entries[i*16:]
		if entry[0]&^0x80 != 0 {
			return false
		}
		used = used || entry[4] != 0
	}
	return used
}

func rootOfMBR(entries []byte) (Extent, error) {
	const linux = 0x83
	var found []Extent
	for i := range 4 {
		entry := entries[i*16:]
		first := uint64(binary.LittleEndian.Uint32(entry[8:]))
		length := uint64(binary.LittleEndian.Uint32(entry[12:]))
		if where, ok := extent(sector, first, first+length-1); ok && entry[4] == linux && length > 0 {
			found = append(found, where)
		}
	}
	return only(found)
}

func only(found []Extent) (Extent, error) {
	if len(found) != 1 {
		return Extent{}, fmt.Errorf("%d partitions could be it: %w", len(found), ErrNoRoot)
	}
	return found[0], nil
}

// extent turns sectors, the last one included, into bytes.
func extent(sector int64, first, last uint64) (Extent, bool) {
	if first == 0 || last < first || last >= uint64(math.MaxInt64/sector) {
		return Extent{}, false
	}
	return Extent{Offset: int64(first) * sector, Size: int64(last-first+1) * sector}, true
}

// Package partition finds the root file system on a disk by its partition table.
// The table is foreign: every number in it meets a bound.
package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
)

// ErrNoRoot says that it cannot be told where the root file system of a disk
// is.
var ErrNoRoot = errors.New("no root file system found on the disk")

// Extent is a part of a disk, in bytes.
type Extent struct {
	Whole        bool // all of it, there are no partitions
	Offset, Size int64
}

const (
	sector = 512
	// maxEntries bounds the partitions that are looked at; 128 is customary.
	maxEntries = 512
	// maxEntrySize bounds one entry; 128 is customary.
	maxEntrySize = 512
	// flagNoAuto marks partitions that are not to be found this way.
	flagNoAuto = 1 << 63
)

// guid is a partition type as it is on disk, first three fields little endian.
type guid [16]byte

// typeLinux is 0fc63daf-8483-4772-8e79-3d69d8477de4, any Linux data.
var typeLinux = guid{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

// rootTypes are those of the root file systems of the discoverable partitions
// specification, by architecture.
var rootTypes = map[string]guid{
	"386":     {0x40, 0x95, 0x47, 0x44, 0x97, 0xf2, 0xb2, 0x41, 0x9a, 0xf7, 0xd1, 0x31, 0xd5, 0xf0, 0x45, 0x8a},
	"amd64":   {0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09},
	"arm":     {0x10, 0xd7, 0xda, 0x69, 0xe4, 0x2c, 0x3c, 0x4e, 0xb1, 0x6c, 0x21, 0xa1, 0xd4, 0x9a, 0xbe, 0xd3},
	"arm64":   {0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae},
	"loong64": {0x00, 0x58, 0x05, 0x77, 0x2c, 0x79, 0x94, 0x4f, 0xb3, 0x9a, 0x98, 0xc9, 0x1b, 0x76, 0x2b, 0xb6},
	"ppc64le": {0xe6, 0x45, 0x1c, 0xc3, 0x9c, 0x3f, 0x2e, 0x41, 0x80, 0xfb, 0x48, 0x09, 0xc4, 0x98, 0x05, 0x99},
	"riscv64": {0xa6, 0x70, 0xec, 0x72, 0x74, 0xcf, 0xe6, 0x40, 0xbd, 0x49, 0x4b, 0xda, 0x08, 0xe8, 0xf2, 0x24},
	"s390x":   {0xa9, 0xad, 0xe9, 0x5e, 0x09, 0xfe, 0x1e, 0x4a, 0xa1, 0xd7, 0x52, 0x0d, 0x00, 0x53, 0x13, 0x06},
}

// RootType is the type of the root partition of this machine's architecture as
// it is on disk; all zero where the specification has none.
func RootType() [16]byte { return rootTypes[runtime.GOARCH] }

// Root finds the root file system of a disk of that many bytes: the partition
// marked as the root of this machine's architecture, else the only one of Linux
// data, of a GPT; the only Linux partition of an MBR; the whole disk, when it has
// no partition table. [ErrNoRoot] if it cannot be told.
func Root(disk io.ReaderAt, size int64) (Extent, error) {
	head := make([]byte, 2*sector)
	if n, err := disk.ReadAt(head, 0); err != nil {
		return Extent{}, fmt.Errorf("read first %d of %d bytes: %w", n, len(head), err)
	}
	mbr, gpt := head[:sector], head[sector:]
	var where Extent
	var err error
	switch {
	case string(gpt[:8]) == "EFI PART":
		where, err = rootOfGPT(disk, gpt)
	case mbr[510] == 0x55 && mbr[511] == 0xaa && looksLikeTable(mbr[446:510]):
		where, err = rootOfMBR(mbr[446:510])
	default:
		return Extent{Whole: true, Size: size}, nil
	}
	if err != nil {
		return Extent{}, err
	}
	if where.Offset >= size || where.Size > size-where.Offset {
		return Extent{}, fmt.Errorf("partition at %d reaches past the end of the disk: %w", where.Offset, ErrNoRoot)
	}
	return where, nil
}

// rootOfGPT reads the table that a header describes (UEFI specification, 5.3).
func rootOfGPT(disk io.ReaderAt, header []byte) (Extent, error) {
	start := binary.LittleEndian.Uint64(header[72:])
	count := binary.LittleEndian.Uint32(header[80:])
	width := binary.LittleEndian.Uint32(header[84:])
	if count > maxEntries || width < 128 || width > maxEntrySize || start > math.MaxInt64/sector {
		return Extent{}, fmt.Errorf("partition table of %d entries of %d bytes: %w", count, width, ErrNoRoot)
	}
	table := make([]byte, int(count)*int(width))
	if _, err := disk.ReadAt(table, int64(start)*sector); err != nil {
		return Extent{}, fmt.Errorf("read partition table: %w: %w", ErrNoRoot, err)
	}
	if crc32.ChecksumIEEE(table) != binary.LittleEndian.Uint32(header[88:]) {
		return Extent{}, fmt.Errorf("partition table does not match its checksum: %w", ErrNoRoot)
	}
	var roots, data []Extent
	root := guid(RootType())
	for entry := table; len(entry) >= int(width) && width > 0; entry = entry[width:] {
		where, ok := extent(binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:]))
		if !ok || binary.LittleEndian.Uint64(entry[48:])&flagNoAuto != 0 {
			continue
		}
		switch guid(entry[:16]) {
		case guid{}:
		case root:
			roots = append(roots, where)
		case typeLinux:
			data = append(data, where)
		}
	}
	if len(roots) > 0 {
		return roots[0], nil
	}
	return only(data)
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
		if where, ok := extent(first, first+length-1); ok && entry[4] == linux && length > 0 {
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
func extent(first, last uint64) (Extent, bool) {
	if first == 0 || last < first || last >= math.MaxInt64/sector {
		return Extent{}, false
	}
	return Extent{Offset: int64(first) * sector, Size: int64(last-first+1) * sector}, true
}

package runner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// ErrNoRoot says that it cannot be told where the root file system of a disk
// is.
var ErrNoRoot = errors.New("no root file system found on the disk")

// rootFS is where on a disk the root file system is, in bytes.
type rootFS struct {
	whole        bool // all of it, there are no partitions
	offset, size int64
	xfs          bool
}

const (
	sector = 512
	// maxEntries bounds the partitions that are looked at; 128 is customary.
	maxEntries = 512
	// maxEntrySize bounds one entry; 128 is customary.
	maxEntrySize = 512
)

// guid is a partition type as it is on disk, first three fields little endian.
type guid [16]byte

var (
	// typeRoot is 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, the root file system of
	// x86-64 in the discoverable partitions specification.
	typeRoot = guid{0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09}
	// typeLinux is 0fc63daf-8483-4772-8e79-3d69d8477de4, any Linux data.
	typeLinux = guid{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
)

// locateRoot finds the root file system of a disk: the partition marked as
// x86-64 root, else the only one of Linux data, of a GPT; the only Linux
// partition of an MBR; the whole disk, when it has no partition table.
func locateRoot(path string) (where rootFS, err error) {
	f, err := os.Open(path)
	if err != nil {
		return rootFS{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return rootFS{}, err
	}
	where, err = findRoot(f, size)
	if err != nil {
		return rootFS{}, err
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], where.offset); err != nil {
		return rootFS{}, fmt.Errorf("read start of file system: %w", err)
	}
	where.xfs = string(magic[:]) == "XFSB"
	return where, nil
}

func findRoot(disk io.ReaderAt, size int64) (rootFS, error) {
	head := make([]byte, 2*sector)
	if n, err := disk.ReadAt(head, 0); err != nil {
		return rootFS{}, fmt.Errorf("read first %d of %d bytes: %w", n, len(head), err)
	}
	mbr, gpt := head[:sector], head[sector:]
	var where rootFS
	var err error
	switch {
	case string(gpt[:8]) == "EFI PART":
		where, err = rootOfGPT(disk, gpt)
	case mbr[510] == 0x55 && mbr[511] == 0xaa && looksLikeTable(mbr[446:510]):
		where, err = rootOfMBR(mbr[446:510])
	default:
		return rootFS{whole: true, size: size}, nil
	}
	if err != nil {
		return rootFS{}, err
	}
	if where.offset >= size || where.size > size-where.offset {
		return rootFS{}, fmt.Errorf("partition at %d reaches past the end of the disk: %w", where.offset, ErrNoRoot)
	}
	return where, nil
}

// rootOfGPT reads the table that a header describes (UEFI specification, 5.3).
func rootOfGPT(disk io.ReaderAt, header []byte) (rootFS, error) {
	start := binary.LittleEndian.Uint64(header[72:])
	count := binary.LittleEndian.Uint32(header[80:])
	width := binary.LittleEndian.Uint32(header[84:])
	if count > maxEntries || width < 128 || width > maxEntrySize || start > math.MaxInt64/sector {
		return rootFS{}, fmt.Errorf("partition table of %d entries of %d bytes: %w", count, width, ErrNoRoot)
	}
	table := make([]byte, int(count)*int(width))
	if _, err := disk.ReadAt(table, int64(start)*sector); err != nil {
		return rootFS{}, fmt.Errorf("read partition table: %w: %w", ErrNoRoot, err)
	}
	if crc32.ChecksumIEEE(table) != binary.LittleEndian.Uint32(header[88:]) {
		return rootFS{}, fmt.Errorf("partition table does not match its checksum: %w", ErrNoRoot)
	}
	var roots, data []rootFS
	for entry := table; len(entry) >= int(width) && width > 0; entry = entry[width:] {
		where, ok := extent(binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:]))
		switch guid(entry[:16]) {
		case typeRoot:
			if ok {
				roots = append(roots, where)
			}
		case typeLinux:
			if ok {
				data = append(data, where)
			}
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

func rootOfMBR(entries []byte) (rootFS, error) {
	const linux = 0x83
	var found []rootFS
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

func only(found []rootFS) (rootFS, error) {
	if len(found) != 1 {
		return rootFS{}, fmt.Errorf("%d partitions could be it: %w", len(found), ErrNoRoot)
	}
	return found[0], nil
}

// extent turns sectors, the last one included, into bytes.
func extent(first, last uint64) (rootFS, bool) {
	if first == 0 || last < first || last >= math.MaxInt64/sector {
		return rootFS{}, false
	}
	return rootFS{offset: int64(first) * sector, size: int64(last-first+1) * sector}, true
}

package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// gpt is the header of a partition table (UEFI specification, 5.3).
type gpt struct {
	sector int64
	header []byte
}

// findGPT looks for a header, which is in the second sector, however large those
// are: nil if there is none.
func findGPT(disk io.ReaderAt) (*gpt, error) {
	for _, size := range []int64{512, 1024, 2048, 4096} {
		header := make([]byte, 92)
		_, err := disk.ReadAt(header, size)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read header of partition table: %w", err)
		}
		if string(header[:8]) == "EFI PART" {
			return &gpt{size, header}, nil
		}
	}
	return nil, nil
}

// system finds the partitions that matter.
func (g *gpt) system(disk io.ReaderAt) (System, error) {
	table, width, err := g.table(disk)
	if err != nil {
		return System{}, err
	}
	var roots, usrs, data []Extent
	root, usr := guid(RootType()), guid(UsrType())
	for entry := table; len(entry) >= width; entry = entry[width:] {
		where, ok := extent(g.sector, binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:]))
		if !ok || binary.LittleEndian.Uint64(entry[48:])&flagNoAuto != 0 {
			continue
		}
		switch guid(entry[:16]) {
		case guid{}:
		case root:
			roots = append(roots, where)
		case usr:
			usrs = append(usrs, where)
		case typeLinux:
			data = append(data, where)
		}
	}
	if len(roots) == 0 && (len(usrs) == 0 || len(data) == 1) {
		if _, err := only(data); err != nil {
			return System{}, err
		}
		roots = data
	}
	return System{Root: first(roots), Usr: first(usrs)}, nil
}

func first(found []Extent) Extent {
	if len(found) == 0 {
		return Extent{}
	}
	return found[0]
}

// table reads the entries, and says how long one is.
func (g *gpt) table(disk io.ReaderAt) (entries []byte, width int, err error) {
	start := binary.LittleEndian.Uint64(g.header[72:])
	count := binary.LittleEndian.Uint32(g.header[80:])
	size := binary.LittleEndian.Uint32(g.header[84:])
	if count > maxEntries || size < 128 || size > maxEntrySize || start > uint64(math.MaxInt64/g.sector) {
		return nil, 0, fmt.Errorf("partition table of %d entries of %d bytes: %w", count, size, ErrNoRoot)
	}
	entries = make([]byte, int(count)*int(size))
	if _, err := disk.ReadAt(entries, int64(start)*g.sector); err != nil {
		return nil, 0, fmt.Errorf("read partition table: %w: %w", ErrNoRoot, err)
	}
	if crc32.ChecksumIEEE(entries) != binary.LittleEndian.Uint32(g.header[88:]) {
		return nil, 0, fmt.Errorf("partition table does not match its checksum: %w", ErrNoRoot)
	}
	return entries, int(size), nil
}

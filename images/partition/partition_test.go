package partition_test

import (
	"bytes"
	"errors"
	"testing"

	"berth/fixtures/diskimage"
	"berth/images/partition"
)

func TestRoot(t *testing.T) {
	esp := diskimage.Partition{Type: diskimage.Other, First: 34, Last: 2047}
	root := diskimage.Partition{Type: partition.RootType(), First: 4096, Last: 8191}
	data := diskimage.Partition{Type: diskimage.Linux, First: 2048, Last: 4095}
	hidden := diskimage.Partition{Type: partition.RootType(), First: 4096, Last: 8191, Flags: 1 << 63}
	// The boot sector of a file system ends like an MBR.
	bootSector := make([]byte, 2*diskimage.Sector)
	copy(bootSector[446:], "Remove disks or other media.")
	bootSector[510], bootSector[511] = 0x55, 0xaa
	broken := diskimage.GPT(root)
	broken[2*diskimage.Sector+60] ^= 1

	const size = 1 << 30
	for name, c := range map[string]struct {
		disk []byte
		want partition.Extent // zero: ErrNoRoot
	}{
		"no table":             {make([]byte, 2*diskimage.Sector), partition.Extent{Whole: true, Size: size}},
		"boot sector":          {bootSector, partition.Extent{Whole: true, Size: size}},
		"marked root":          {diskimage.GPT(esp, data, root), partition.Extent{Offset: 4096 * diskimage.Sector, Size: 4096 * diskimage.Sector}},
		"root not to be found": {diskimage.GPT(data, hidden), partition.Extent{Offset: 2048 * diskimage.Sector, Size: 2048 * diskimage.Sector}},
		"only data":            {diskimage.GPT(esp, data), partition.Extent{Offset: 2048 * diskimage.Sector, Size: 2048 * diskimage.Sector}},
		"two of data":          {diskimage.GPT(data, data), partition.Extent{}},
		"nothing":              {diskimage.GPT(esp), partition.Extent{}},
		"past the end":         {diskimage.GPT(diskimage.Partition{Type: partition.RootType(), First: 2048, Last: 1 << 40}), partition.Extent{}},
		"last before first":    {diskimage.GPT(diskimage.Partition{Type: partition.RootType(), First: 2048, Last: 5}), partition.Extent{}},
		"overflow":             {diskimage.GPT(diskimage.Partition{Type: partition.RootType(), First: 1 << 63, Last: 1<<64 - 1}), partition.Extent{}},
		"bad checksum":         {broken, partition.Extent{}},
		"mbr":                  {diskimage.MBR(0x83), partition.Extent{Offset: 2048 * diskimage.Sector, Size: 2048 * diskimage.Sector}},
		"mbr, swap and linux":  {diskimage.MBR(0x82, 0x83), partition.Extent{Offset: 4096 * diskimage.Sector, Size: 2048 * diskimage.Sector}},
		"mbr, two":             {diskimage.MBR(0x83, 0x83), partition.Extent{}},
	} {
		got, err := partition.Root(bytes.NewReader(c.disk), size)
		if c.want == (partition.Extent{}) {
			if !errors.Is(err, partition.ErrNoRoot) {
				t.Errorf("%s: %+v, error %v", name, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, error %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	const large = 4096
	root := diskimage.Partition{Type: partition.RootType(), First: 4096, Last: 8191}
	usr := diskimage.Partition{Type: partition.UsrType(), First: 8192, Last: 8193}
	data := diskimage.Partition{Type: diskimage.Linux, First: 2048, Last: 2049}
	at := func(sector, first, count int64) partition.Extent {
		return partition.Extent{Offset: first * sector, Size: count * sector}
	}
	for name, c := range map[string]struct {
		disk []byte
		want partition.System
	}{
		"large sectors": {diskimage.GPTOf(large, root), partition.System{Root: at(large, 4096, 4096)}},
		"sectors of 1K": {diskimage.GPTOf(1024, root), partition.System{Root: at(1024, 4096, 4096)}},
		"usr only":      {diskimage.GPTOf(large, usr), partition.System{Usr: at(large, 8192, 2)}},
		"both":          {diskimage.GPT(usr, root), partition.System{Root: at(512, 4096, 4096), Usr: at(512, 8192, 2)}},
		"usr and data":  {diskimage.GPT(data, usr), partition.System{Root: at(512, 2048, 2), Usr: at(512, 8192, 2)}},
		"usr and more":  {diskimage.GPT(data, data, usr), partition.System{Usr: at(512, 8192, 2)}},
	} {
		got, err := partition.Find(bytes.NewReader(c.disk), 1<<30)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
		where, err := partition.Root(bytes.NewReader(c.disk), 1<<30)
		if where != c.want.Root || (err == nil) != (where.Size > 0) || err != nil && !errors.Is(err, partition.ErrNoRoot) {
			t.Errorf("%s: root %+v, %v", name, where, err)
		}
	}
	tooFar := diskimage.GPT(root, diskimage.Partition{Type: partition.UsrType(), First: 8192, Last: 1 << 40})
	if got, err := partition.Find(bytes.NewReader(tooFar), 1<<30); !errors.Is(err, partition.ErrNoRoot) {
		t.Errorf("/usr past the end: %+v, %v", got, err)
	}
}

func FuzzRoot(f *testing.F) {
	f.Add(diskimage.GPT(diskimage.Partition{Type: partition.RootType(), First: 4096, Last: 8191}), int64(1<<30))
	f.Add(diskimage.GPT(diskimage.Partition{Type: diskimage.Linux, First: 1 << 63, Last: 1<<64 - 1}), int64(1))
	f.Add(diskimage.MBR(0x83), int64(1<<30))
	f.Add(diskimage.GPTOf(4096, diskimage.Partition{Type: partition.UsrType(), First: 4096, Last: 8191}), int64(1<<30))
	f.Fuzz(func(t *testing.T, disk []byte, size int64) {
		found, err := partition.Find(bytes.NewReader(disk), max(size, 0))
		if err != nil {
			return
		}
		for _, got := range []partition.Extent{found.Root, found.Usr} {
			if got.Offset < 0 || got.Size < 0 || got.Offset > size-got.Size && size > 0 {
				t.Errorf("%+v on a disk of %d bytes", found, size)
			}
		}
	})
}

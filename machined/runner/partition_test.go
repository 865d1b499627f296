package runner

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// partition is an entry of a table made by a test, in sectors.
type partition struct {
	kind        guid
	first, last uint64
}

// gpt returns the first sectors of a disk with a partition table.
func gpt(entries ...partition) []byte {
	disk := make([]byte, 34*sector)
	table := disk[2*sector:]
	for i, e := range entries {
		copy(table[i*128:], e.kind[:])
		binary.LittleEndian.PutUint64(table[i*128+32:], e.first)
		binary.LittleEndian.PutUint64(table[i*128+40:], e.last)
	}
	header := disk[sector:]
	copy(header, "EFI PART")
	binary.LittleEndian.PutUint64(header[72:], 2)
	binary.LittleEndian.PutUint32(header[80:], 128)
	binary.LittleEndian.PutUint32(header[84:], 128)
	binary.LittleEndian.PutUint32(header[88:], crc32.ChecksumIEEE(table))
	return disk
}

// mbr returns the first sectors of a disk with Linux partitions.
func mbr(kinds ...byte) []byte {
	disk := make([]byte, 2*sector)
	disk[510], disk[511] = 0x55, 0xaa
	for i, kind := range kinds {
		entry := disk[446+i*16:]
		entry[4] = kind
		binary.LittleEndian.PutUint32(entry[8:], uint32(2048*(i+1)))
		binary.LittleEndian.PutUint32(entry[12:], 2048)
	}
	return disk
}

// makeDisk makes an empty disk and returns where its file system belongs.
func makeDisk(t *testing.T, path string, table bool) int {
	t.Helper()
	const size, first = 32 << 20, 2048
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	offset := 0
	if table {
		offset = first * sector
		if _, err := f.WriteAt(gpt(partition{guid{1}, 34, 2047}, partition{typeRoot, first, first + 24<<11 - 1}), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return offset
}

func TestFindRoot(t *testing.T) {
	esp := partition{guid{1}, 34, 2047}
	root := partition{typeRoot, 4096, 8191}
	data := partition{typeLinux, 2048, 4095}
	// The boot sector of a file system ends like an MBR.
	bootSector := make([]byte, 2*sector)
	copy(bootSector[446:], "Remove disks or other media.")
	bootSector[510], bootSector[511] = 0x55, 0xaa
	broken := gpt(root)
	broken[2*sector+60] ^= 1

	const size = 1 << 30
	for name, c := range map[string]struct {
		disk []byte
		want rootFS // zero: ErrNoRoot
	}{
		"no table":            {make([]byte, 2*sector), rootFS{whole: true, size: size}},
		"boot sector":         {bootSector, rootFS{whole: true, size: size}},
		"marked root":         {gpt(esp, data, root), rootFS{offset: 4096 * sector, size: 4096 * sector}},
		"only data":           {gpt(esp, data), rootFS{offset: 2048 * sector, size: 2048 * sector}},
		"two of data":         {gpt(data, data), rootFS{}},
		"nothing":             {gpt(esp), rootFS{}},
		"past the end":        {gpt(partition{typeRoot, 2048, 1 << 40}), rootFS{}},
		"last before first":   {gpt(partition{typeRoot, 2048, 5}), rootFS{}},
		"overflow":            {gpt(partition{typeRoot, 1 << 63, 1<<64 - 1}), rootFS{}},
		"bad checksum":        {broken, rootFS{}},
		"mbr":                 {mbr(0x83), rootFS{offset: 2048 * sector, size: 2048 * sector}},
		"mbr, swap and linux": {mbr(0x82, 0x83), rootFS{offset: 4096 * sector, size: 2048 * sector}},
		"mbr, two":            {mbr(0x83, 0x83), rootFS{}},
	} {
		got, err := findRoot(bytes.NewReader(c.disk), size)
		if c.want == (rootFS{}) {
			if !errors.Is(err, ErrNoRoot) {
				t.Errorf("%s: %+v, error %v", name, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, error %v, want %+v", name, got, err, c.want)
		}
	}
}

func FuzzFindRoot(f *testing.F) {
	f.Add(gpt(partition{typeRoot, 4096, 8191}), int64(1<<30))
	f.Add(gpt(partition{typeLinux, 1 << 63, 1<<64 - 1}), int64(1))
	f.Add(mbr(0x83), int64(1<<30))
	f.Fuzz(func(t *testing.T, disk []byte, size int64) {
		got, err := findRoot(bytes.NewReader(disk), max(size, 0))
		if err != nil {
			return
		}
		if got.offset < 0 || got.size < 0 || got.offset > size-got.size && size > 0 {
			t.Errorf("%+v on a disk of %d bytes", got, size)
		}
	})
}

func TestLocateRootOfXFS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	offset := makeDisk(t, path, true)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("XFSB"), int64(offset)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	where, err := locateRoot(path)
	if err != nil || !slices.Contains(where.mountOptions(false), "nouuid") {
		t.Errorf("%+v, %v", where, err)
	}
}

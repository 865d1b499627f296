package diskread

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// superblocks tell file systems that a root may be. Others, which few have
// tested with hostile disks, are never mounted.
var superblocks = []struct {
	kind   string
	offset int64
	magic  []byte
}{
	{"xfs", 0, []byte("XFSB")},
	{"squashfs", 0, []byte("hsqs")},
	{"erofs", 1024, []byte{0xe2, 0xe1, 0xf5, 0xe0}},
	{"f2fs", 1024, []byte{0x10, 0x20, 0xf5, 0xf2}},
	{"ext4", 1024 + 56, []byte{0x53, 0xef}},
	{"btrfs", 64<<10 + 64, []byte("_BHRfS_M")},
	{encrypted, 0, []byte("LUKS\xba\xbe")},
}

const encrypted = "LUKS"

// fileSystem says what is on the disk at an offset.
func fileSystem(disk io.ReaderAt, at int64) (string, error) {
	for _, s := range superblocks {
		got := make([]byte, len(s.magic))
		if _, err := disk.ReadAt(got, at+s.offset); err != nil || !bytes.Equal(got, s.magic) {
			continue
		}
		if s.kind == encrypted {
			return "", fmt.Errorf("%w: it is encrypted", ErrUnreadable)
		}
		return s.kind, nil
	}
	return "", fmt.Errorf("%w: it has no known file system", ErrUnreadable)
}

// setOption gives a file system an option, KEY=VALUE or only a KEY.
func setOption(fs int, option string) error {
	key, value, ok := strings.Cut(option, "=")
	if ok {
		return unix.FsconfigSetString(fs, key, value)
	}
	return unix.FsconfigSetFlag(fs, key)
}

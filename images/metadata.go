package images

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Metadata is what the system in an image says about itself. Every field is
// empty when the image has no such file or a bad one.
type Metadata struct {
	Hostname    string
	MachineID   [16]byte
	MachineInfo []KeyValue
	OSRelease   []KeyValue
}

// Metadata reads the files in which the image says what it is. No lock is
// needed for that, so it works for images in use. Raw files and block devices
// are refused with [ErrNotSupported]: their file systems would have to be
// mounted; mount stacks likewise.
func (s *Store) Metadata(ctx context.Context, img Image) (Metadata, error) {
	if img.Type != TypeDirectory && img.Type != TypeSubvolume {
		return Metadata{}, fmt.Errorf("read metadata of image %q: %w: only directories and subvolumes can be read without mounting them",
			img.Name, ErrNotSupported)
	}
	if err := ctx.Err(); err != nil {
		return Metadata{}, err
	}
	root, err := os.OpenFile(img.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if os.IsNotExist(err) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("read metadata of image %q: %w", img.Name, err)
	}
	defer root.Close()
	return Metadata{
		Hostname:    parseHostname(firstInside(root, "etc/hostname")),
		MachineID:   parseMachineID(firstInside(root, "etc/machine-id")),
		MachineInfo: ParseOSRelease(firstInside(root, "etc/machine-info")),
		OSRelease:   ParseOSRelease(firstInside(root, "etc/os-release", "usr/lib/os-release")),
	}, nil
}

// firstInside reads the first of the files that can be read, nil if none.
func firstInside(root *os.File, paths ...string) []byte {
	for _, path := range paths {
		if data, err := readInside(root, path); err == nil {
			return data
		}
	}
	return nil
}

// hostnameMax is HOST_NAME_MAX of Linux.
const hostnameMax = 64

// parseHostname returns the first line that is no comment.
func parseHostname(data []byte) string {
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		odd := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '/' }
		if len(line) > hostnameMax || !utf8.ValidString(line) || strings.ContainsFunc(line, odd) {
			return ""
		}
		return line
	}
	return ""
}

// parseMachineID reads 32 hexadecimal digits, the form of machine-id(5); zero
// for anything else, such as the word that marks an image never booted.
func parseMachineID(data []byte) (id [16]byte) {
	text := strings.TrimSuffix(string(data), "\n")
	if len(text) != hex.EncodedLen(len(id)) {
		return id
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return id
	}
	copy(id[:], raw)
	return id
}

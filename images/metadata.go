package images

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"berth/images/inside"
)

// Metadata is what the system in an image says about itself. Every field is
// empty when the image has no such file or a bad one.
type Metadata struct {
	Hostname    string
	MachineID   [16]byte
	MachineInfo []KeyValue
	OSRelease   []KeyValue
}

// DiskReader reads files of the root file system on a disk, which is a file or a
// block device; those that are not there are left out. A disk that is damaged or
// of a kind that it cannot read is [ErrNotSupported].
type DiskReader interface {
	Read(ctx context.Context, disk *os.File, paths ...string) (map[string][]byte, error)
}

// Files in which an image says what it is.
const (
	fileHostname    = "etc/hostname"
	fileMachineID   = "etc/machine-id"
	fileMachineInfo = "etc/machine-info"
	fileOSRelease   = "etc/os-release"
	fileVendorOS    = "usr/lib/os-release"
)

// Metadata reads the files in which the image says what it is. For directories
// no lock is needed, so it works for images in use. Raw files and block devices
// have to be mounted: that needs a [DiskReader], see [Store.ReadDisks], and a
// shared lock, since their file system changes under who mounts it too
// ([ErrBusy]). What cannot be read for its form is refused with
// [ErrNotSupported], mount stacks always.
func (s *Store) Metadata(ctx context.Context, img Image) (Metadata, error) {
	if err := ctx.Err(); err != nil {
		return Metadata{}, err
	}
	var read func(context.Context, Image) (map[string][]byte, error)
	switch img.Type {
	case TypeDirectory, TypeSubvolume:
		read = readTree
	case TypeRaw, TypeBlock:
		read = s.readDisk
	default:
		return Metadata{}, fmt.Errorf("read metadata of image %q: %w: it is a mount stack", img.Name, ErrNotSupported)
	}
	files, err := read(ctx, img)
	if os.IsNotExist(err) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("read metadata of image %q: %w", img.Name, err)
	}
	release, ok := files[fileOSRelease]
	if !ok {
		release = files[fileVendorOS]
	}
	return Metadata{
		Hostname:    parseHostname(files[fileHostname]),
		MachineID:   parseMachineID(files[fileMachineID]),
		MachineInfo: ParseOSRelease(files[fileMachineInfo]),
		OSRelease:   ParseOSRelease(release),
	}, nil
}

func metadataFiles() []string {
	return []string{fileHostname, fileMachineID, fileMachineInfo, fileOSRelease, fileVendorOS}
}

func readTree(_ context.Context, img Image) (map[string][]byte, error) {
	root, err := os.OpenFile(img.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string][]byte{}
	for _, path := range metadataFiles() {
		if data, err := inside.Read(root, path); err == nil {
			files[path] = data
		}
	}
	return files, nil
}

func (s *Store) readDisk(ctx context.Context, img Image) (_ map[string][]byte, err error) {
	if s.disks == nil {
		return nil, fmt.Errorf("%w: only directories and subvolumes can be read without mounting them", ErrNotSupported)
	}
	lock, err := s.LockImage(img, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	disk, err := os.OpenFile(img.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	info, err := disk.Stat()
	if err != nil {
		return nil, err
	}
	if kind := info.Mode().Type(); kind != 0 && kind != os.ModeDevice {
		return nil, fmt.Errorf("%w: something else has taken its place", ErrNotFound)
	}
	return s.disks.Read(ctx, disk, metadataFiles()...)
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

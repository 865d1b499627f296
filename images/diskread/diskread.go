// Package diskread reads small files out of disk images: it has the kernel mount
// the root file system of the disk, which may be hostile, and looks in.
//
// That happens in a process of its own, this program started anew under the name
// [Name]. It has namespaces of its own for mounts and the network, the mount is
// attached nowhere, read-only and without devices, set-uid programs and
// execution, and before anything is looked at the process has given up all
// capabilities. When it ends, however it does, mount and loop device go with it.
//
// A disk that is not whole, encrypted or of an unknown file system is
// [ErrUnreadable]; signatures of verity are not checked, as nothing of what is
// read is run.
package diskread

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/images"
	"berth/images/errand"
	"berth/images/inside"
)

// Name is argument 0 of the process. A program that uses [Reader] begins its
// main with a call of [Main] if it is called so.
const Name = "berth-disk-reader"

// ErrUnreadable is an images.ErrNotSupported: there is nothing on the disk that
// could be read here.
var ErrUnreadable = fmt.Errorf("%w: disk cannot be read", images.ErrNotSupported)

const (
	// patience is how long the process may take. A disk on a network may be slow.
	patience = 30 * time.Second
	// maxAnswer bounds the answer: five files in Base64.
	maxAnswer = 5 * inside.Max * 4 / 3 * 2
)

// Reader reads disks. The zero value is ready for use.
type Reader struct{}

var _ images.DiskReader = Reader{}

// Read returns the content of those files that are there, that are regular and
// not larger than [inside.Max]. Paths are relative to the root file system, and
// symlinks do not lead out of it. The disk is a file or a block device that is
// open for reading.
func (Reader) Read(ctx context.Context, disk *os.File, paths ...string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var files map[string][]byte
	err := errand.Errand{
		Name: Name, Request: paths, Files: []*os.File{disk}, MaxAnswer: maxAnswer, Known: []error{ErrUnreadable},
		Attr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC},
	}.Run(ctx, &files)
	if err != nil {
		return nil, fmt.Errorf("read disk: %w", err)
	}
	return files, nil
}

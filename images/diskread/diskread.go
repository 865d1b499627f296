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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/images"
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
	// maxResult bounds the answer: five files in Base64.
	maxResult = 5 * inside.Max * 4 / 3 * 2
	// maxWords is how much is kept of what the process says before it dies.
	maxWords = 4 << 10
)

// result is what the process answers.
type result struct {
	Files      map[string][]byte
	Error      string
	Unreadable bool
}

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
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{Name}, paths...)
	cmd.Env = environment(os.Environ())
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{disk}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC}
	// A process that waits for a dead disk cannot be killed; nobody waits for it.
	cmd.WaitDelay = time.Second
	out, words := &limited{max: maxResult}, &limited{max: maxWords}
	cmd.Stdout, cmd.Stderr = out, words
	err := run(ctx, cmd)
	if errors.Is(err, errHangs) {
		return nil, fmt.Errorf("read disk: %w", err) // and may write still
	}
	if err != nil {
		if text := strings.TrimSpace(words.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, fmt.Errorf("read disk: %w", err)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("read disk: answer of the reader: %w", err)
	}
	switch {
	case r.Unreadable:
		return nil, fmt.Errorf("%w: %s", ErrUnreadable, r.Error)
	case r.Error != "":
		return nil, fmt.Errorf("read disk: %s", r.Error)
	}
	return r.Files, nil
}

// errHangs says that the process waits for a dead disk.
var errHangs = errors.New("it hangs in the kernel")

// run is cmd.Run that gives up on a process which cannot be killed.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		return nil
	case <-time.After(5 * time.Second):
		return errors.Join(errHangs, context.Cause(ctx))
	}
}

// environment passes on what concerns a test binary, which stands in for the
// daemon's.
func environment(all []string) []string {
	out := []string{"GOMAXPROCS=1"}
	for _, e := range all {
		if name, _, _ := strings.Cut(e, "="); name == "GOCOVERDIR" || name == "GORACE" {
			out = append(out, e)
		}
	}
	return out
}

// limited keeps the first bytes and fails beyond.
type limited struct {
	bytes.Buffer
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.max-l.Len() {
		return 0, io.ErrShortBuffer
	}
	return l.Buffer.Write(p)
}

package images

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
	"berth/images/copytree"
	"berth/images/foreign"
)

// Pending is an image in the making: a tree or file in an image directory whose
// name no listing shows. Its File is held by flock; while that file is open in
// this process or in a child that inherited it, [Sweep] leaves the entry alone.
//
// A Pending ends with Commit or Discard; only Commit makes anything visible.
// Its methods are not for concurrent use.
type Pending struct {
	root  *os.File
	name  string
	file  *os.File
	tree  bool
	done  bool
	trees *foreign.User // whoever removes what belongs to the foreign range
}

// Kinds of temporary names: ".#" KIND and 16 hex digits.
const (
	tempTree   = "tar"
	tempFile   = "raw"
	tempRemove = "remove"
)

func tempName(kind string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return tempPrefix + kind + hex.EncodeToString(b[:])
}

// NewPendingTree makes an empty tree in the image directory root: a subvolume
// on btrfs, else a directory; mode 0755. A missing root is made with mode 0700.
func NewPendingTree(root string) (*Pending, error) {
	return newPending(root, tempTree, nil, func(dir *os.File, path string) error {
		return MakeTree(dir, filepath.Base(path), false)
	})
}

// MakeTree makes an empty tree in the directory parent: a subvolume on btrfs
// unless plain is set, else a directory; mode 0755 less the umask.
func MakeTree(parent *os.File, name string, plain bool) error {
	path := filepath.Join(parent.Name(), name)
	if !plain && btrfs.IsBtrfs(parent) {
		err := btrfs.CreateSubvolume(path)
		if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTTY) {
			return err
		}
	}
	return os.Mkdir(path, 0o755)
}

// NewPendingDirectory is like [NewPendingTree], but makes a directory on btrfs too.
func NewPendingDirectory(root string) (*Pending, error) {
	return newPending(root, tempTree, nil, func(dir *os.File, path string) error {
		return MakeTree(dir, filepath.Base(path), true)
	})
}

// NewPendingForeign makes an empty tree whose files will belong to the foreign range, for a user who is not root; mode
// 0755. Its File shows the owners that are on the disk, and the user may not write to it. A missing root is made with
// mode 0700.
func NewPendingForeign(ctx context.Context, root string, trees *foreign.User) (*Pending, error) {
	return newPending(root, tempTree, trees, func(dir *os.File, path string) error {
		made, err := trees.Make(ctx, dir, filepath.Base(path))
		if err != nil {
			return err
		}
		return made.Close()
	})
}

// NewPendingFile makes an empty file in the image directory root, with mode
// 0644 and, where the file system knows it, without copy-on-write, since disks
// are rewritten in place. A missing root is made with mode 0700.
func NewPendingFile(root string) (*Pending, error) {
	p, err := newPendingFile(root)
	if err != nil {
		return nil, err
	}
	if err := copytree.SetNoCOW(p.file); err != nil && !unsupported(err) {
		return nil, errors.Join(fmt.Errorf("make pending file: %w", err), p.Discard())
	}
	return p, nil
}

func newPendingFile(root string) (*Pending, error) {
	return newPending(root, tempFile, nil, func(_ *os.File, path string) error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// errSwept says that a sweep took an entry before its maker could lock it.
var errSwept = errors.New("it was swept before it could be locked")

// pendingTries bounds how many entries are made because sweeps took those before.
const pendingTries = 100

// newPending makes an entry and takes its flock. A sweep that comes between the two
// takes the entry for a dead one; then there has to be another. No lock of the whole
// directory keeps them apart: some of these everybody may open, and lock for ever.
func newPending(root, kind string, trees *foreign.User, make func(dir *os.File, path string) error) (p *Pending, err error) {
	for range pendingTries {
		if p, err = tryPending(root, kind, trees, make); !errors.Is(err, errSwept) {
			break
		}
	}
	return p, err
}

func tryPending(root, kind string, trees *foreign.User, make func(dir *os.File, path string) error) (_ *Pending, err error) {
	dir, err := openRoot(root)
	if err != nil {
		return nil, fmt.Errorf("make pending image: %w", err)
	}
	p := &Pending{root: dir, name: tempName(kind), tree: kind == tempTree, trees: trees}
	defer func() {
		switch {
		case errors.Is(err, errSwept): // and is removed by who has swept it
			err = errors.Join(fmt.Errorf("make pending image in %s: %w", root, err), p.close())
		case err != nil:
			err = errors.Join(fmt.Errorf("make pending image in %s: %w", root, err), p.Discard())
		}
	}()
	if err := make(dir, p.Path()); err != nil {
		return nil, err
	}
	flags, mode := os.O_RDWR, os.FileMode(0o644)
	if p.tree {
		flags, mode = os.O_RDONLY|unix.O_DIRECTORY, 0o755
	}
	if p.file, err = os.OpenFile(p.Path(), flags|unix.O_NOFOLLOW, 0); errors.Is(err, os.ErrNotExist) {
		return nil, errSwept
	} else if err != nil {
		return nil, err
	}
	if err := tryFlock(p.file); errors.Is(err, unix.EWOULDBLOCK) || err == nil && !stillCalled(dir, p.name, p.file) {
		return nil, errSwept
	} else if err != nil {
		return nil, err
	}
	// The umask may have taken bits away; a copy brings its own mode later. What belongs to others has its mode.
	if others, err := foreign.Tree(p.file); err != nil {
		return nil, err
	} else if !others {
		if err := p.file.Chmod(mode); err != nil && !errors.Is(err, unix.EROFS) {
			return nil, err
		}
	}
	return p, nil
}

// openRoot opens an image directory and makes it when it is missing.
func openRoot(root string) (*os.File, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(abs, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// Path is where the pending entry is until Commit.
func (p *Pending) Path() string { return filepath.Join(p.root.Name(), p.name) }

// File is the tree's top directory, open for reading, or the file, open for
// reading and writing. It belongs to the Pending, which closes it.
func (p *Pending) File() *os.File { return p.file }

// Discard removes the pending entry. After Commit or Discard it does nothing. It
// takes no context, since it has to run also when that of the work has ended.
//
//nolint:contextcheck // see above
func (p *Pending) Discard() error {
	if p.done {
		return nil
	}
	err := RemoveEntry(context.Background(), p.trees, p.root, p.name)
	if err := errors.Join(err, p.close()); err != nil {
		return fmt.Errorf("discard pending image: %w", err)
	}
	return nil
}

func (p *Pending) close() error {
	p.done = true
	var err error
	if p.file != nil {
		err = p.file.Close()
	}
	return errors.Join(err, p.root.Close())
}

// tryFlock takes the lock of the open file unless somebody has it, which is
// EWOULDBLOCK; again when a signal came between.
func tryFlock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		return nil
	}
}

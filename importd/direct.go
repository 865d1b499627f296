package importd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/images"
	"berth/images/btrfs"
	"berth/images/copytree"
	"berth/images/foreign"
	"berth/importd/cage"

	"golang.org/x/sys/unix"
)

// target is the worker's view of what a direct transfer fills: an open file or
// directory on its standard output. Whoever opened it removes it if it was made
// for a transfer that failed; the worker has no right to.
type target struct {
	file *os.File
	path string
}

// target takes over the standard output and puts a disk where it belongs.
func (s *stage) target() (*target, error) {
	d := s.Request.Direct
	t := &target{os.Stdout, d.Path}
	if d.Offset != nil {
		if _, err := t.file.Seek(*d.Offset, io.SeekStart); err != nil {
			return nil, fmt.Errorf("go to offset %d of %s: %w", *d.Offset, d.Path, err)
		}
	}
	return t, nil
}

// Path is where the target is, empty if it is a stream.
func (t *target) Path() string { return t.path }

// File is the target.
func (t *target) File() *os.File { return t.file }

// Discard leaves the target to whoever opened it.
func (t *target) Discard() error { return nil }

// finishDirect does what remains to be done in a direct target once its content is
// proved.
func (s *stage) finishDirect(ctx context.Context, t receiver) error {
	if err := s.finishImage(ctx, t.File()); err != nil {
		return err
	}
	if s.Request.ReadOnly {
		if err := markReadOnly(t.File()); err != nil {
			return fmt.Errorf("make %s read-only: %w", t.Path(), err)
		}
	}
	switch {
	case s.NoSync || t.Path() == "":
		return nil
	case s.Request.Kind.Tree():
		if err := unix.Syncfs(int(t.File().Fd())); err != nil {
			return fmt.Errorf("sync the file system of %s: %w", t.Path(), err)
		}
		return nil
	}
	if err := t.File().Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", t.Path(), err)
	}
	return nil
}

// markReadOnly does so in the way of what f is. File systems that know no
// immutable directories go without.
func markReadOnly(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case btrfs.IsSubvolume(f):
		return btrfs.SetReadOnly(f, true)
	case info.IsDir():
		err := copytree.SetImmutable(f, true)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EPERM) {
			return nil
		}
		return err
	case info.Mode().IsRegular():
		return f.Chmod(info.Mode() &^ 0o222)
	case info.Mode()&os.ModeDevice != 0:
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 1)
	}
	return nil
}

// rootRules are the rights of a worker that ends with an image in the store, or
// in a direct target.
func (s *stage) rootRules() cage.Rules {
	d := s.Request.Direct
	switch {
	case d == nil:
		return cage.Rules{Write: s.writable(), Capabilities: s.publishCapabilities(s.Request.ImageRoot)}
	case s.Request.Kind.Tree():
		return cage.Rules{Write: []string{d.Path}, Capabilities: s.publishCapabilities(d.Path)}
	}
	return cage.Rules{Capabilities: s.publishCapabilities(filepath.Dir(d.Path))}
}

func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// openTarget opens what a direct transfer fills and makes it if need be. release
// must be called at the end, whatever is returned: it takes away what was made if it
// was not filled.
func openTarget(ctx context.Context, r *Request, c *Config) (release func(filled bool) error, err error) {
	nothing := func(bool) error { return nil }
	d := r.Direct
	if d == nil || d.Path == "" {
		return nothing, nil
	}
	if err := os.MkdirAll(filepath.Dir(d.Path), 0o700); err != nil {
		return nothing, fmt.Errorf("make the directory of %s: %w", d.Path, err)
	}
	parent, err := os.Open(filepath.Dir(d.Path))
	if err != nil {
		return nothing, err
	}
	open := r.openDisk
	if r.Kind.Tree() {
		open = func(parent *os.File) (bool, error) { return r.openTree(ctx, parent, c) }
	}
	made, err := open(parent)
	return func(filled bool) (err error) { //nolint:contextcheck // it has to go also when ctx has ended
		if d.Output != nil {
			err = d.Output.Close()
		}
		if made && !filled {
			err = errors.Join(err, images.RemoveEntry(context.Background(), c.trees(), parent, filepath.Base(d.Path)))
		}
		return errors.Join(err, parent.Close())
	}, err
}

// openDisk opens a file or block device for writing. It empties none: a transfer
// that cannot begin takes nothing away.
func (r *Request) openDisk(*os.File) (made bool, err error) {
	d := r.Direct
	if d.Offset == nil {
		d.Output, err = os.OpenFile(d.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOCTTY, 0o664)
		if err == nil {
			// Disks are rewritten in place; that is faster this way, no more.
			_ = copytree.SetNoCOW(d.Output)
			return true, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return false, fmt.Errorf("open target: %w", err)
		}
	}
	if d.Output, err = os.OpenFile(d.Path, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return false, fmt.Errorf("open target: %w", err)
	}
	return false, nil
}

// openTree opens a directory and makes it if there is none, or after it was
// removed by force.
func (r *Request) openTree(ctx context.Context, parent *os.File, c *Config) (made bool, err error) {
	d, name := r.Direct, filepath.Base(r.Direct.Path)
	if r.Force {
		if err := images.RemoveEntry(ctx, c.trees(), parent, name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("remove what is at %s: %w", d.Path, err)
		}
	}
	if err = c.makeTarget(ctx, r.Kind, parent, name); errors.Is(err, foreign.ErrUnavailable) {
		return false, err
	}
	if made = err == nil; err != nil && !errors.Is(err, os.ErrExist) {
		return false, fmt.Errorf("make target: %w", err)
	}
	d.Output, err = os.OpenFile(d.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return made, fmt.Errorf("open target: %w", err)
	}
	return made, r.checkOwner(c)
}

// makeTarget makes an empty tree.
func (c *Config) makeTarget(ctx context.Context, kind Kind, parent *os.File, name string) error {
	if !c.User || os.Geteuid() == 0 || kind == ImportFS {
		return images.MakeTree(parent, name, c.NoSubvolumes)
	}
	made, err := c.trees().Make(ctx, parent, name)
	if err != nil {
		return err
	}
	return made.Close()
}

// checkOwner refuses a tree of a user that cannot take the owners of an archive.
func (r *Request) checkOwner(c *Config) error {
	if !c.User || os.Geteuid() == 0 {
		return nil
	}
	others, err := foreign.Tree(r.Direct.Output)
	if err == nil && others != (r.Kind != ImportFS) {
		err = fmt.Errorf("fill %s: its owner is not what that of such a tree has to be: %w", r.Direct.Path, unix.EPERM)
	}
	return err
}

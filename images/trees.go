package images

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
	"berth/images/foreign"
)

// UseForeign has the store remove and copy trees of the foreign range for a user who is not root. It is to be called
// before the store is used; without it, such trees are refused with [foreign.ErrUnavailable].
func (s *Store) UseForeign(trees *foreign.User) { s.trees = trees }

// RemoveEntry removes name in the directory parent with everything below it. A tree of the foreign range goes in two
// steps: only as its root may one empty it, and only its user may remove it from the directory.
func RemoveEntry(ctx context.Context, trees *foreign.User, parent *os.File, name string) error {
	others, err := foreign.TreeAt(parent, name)
	if err != nil {
		return err
	}
	if !others {
		return removeOwn(ctx, trees, parent, name)
	}
	if err := emptyTree(ctx, trees, parent, name); err != nil {
		return fmt.Errorf("remove %s/%s: %w", parent.Name(), name, err)
	}
	if err := unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR); err != nil {
		return &os.PathError{Op: "rmdir", Path: parent.Name() + "/" + name, Err: err}
	}
	return nil
}

// nested is how deep trees of the foreign range may lie in what is the user's: layers in a mount stack do.
const nested = 4

// removeOwn removes what is the user's. If that fails for want of rights, trees of the foreign range are in it.
func removeOwn(ctx context.Context, trees *foreign.User, parent *os.File, name string) error {
	err := copytree.Remove(ctx, parent, name)
	if trees == nil || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return err
	}
	dir, openErr := openEntry(parent, name)
	if openErr != nil {
		return err
	}
	defer dir.Close()
	if emptyErr := emptyBelow(ctx, trees, dir, nested); emptyErr != nil {
		return errors.Join(err, emptyErr)
	}
	return copytree.Remove(ctx, parent, name)
}

// emptyBelow empties the trees of the foreign range in a directory of the user's.
func emptyBelow(ctx context.Context, trees *foreign.User, dir *os.File, levels int) error {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir.Name(), err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		others, err := foreign.TreeAt(dir, e.Name())
		switch {
		case err != nil:
			return err
		case others:
			err = emptyTree(ctx, trees, dir, e.Name())
		case levels > 0:
			err = emptyIn(ctx, trees, dir, e.Name(), levels-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func emptyIn(ctx context.Context, trees *foreign.User, parent *os.File, name string, levels int) error {
	dir, err := openEntry(parent, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return emptyBelow(ctx, trees, dir, levels)
}

func emptyTree(ctx context.Context, trees *foreign.User, parent *os.File, name string) error {
	tree, err := openEntry(parent, name)
	if err != nil {
		return err
	}
	defer tree.Close()
	return trees.Empty(ctx, tree)
}

// copyForeign makes a pending copy of a tree of the foreign range.
func copyForeign(ctx context.Context, root string, src *os.File, trees *foreign.User) (*Pending, error) {
	p, err := NewPendingForeign(ctx, root, trees)
	if err != nil {
		return nil, err
	}
	if err := trees.Copy(ctx, src, p.file); err != nil {
		return nil, errors.Join(fmt.Errorf("copy image %s: %w", src.Name(), err), p.Discard())
	}
	return p, nil
}

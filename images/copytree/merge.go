package copytree

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
)

// MergeOptions for Merge.
type MergeOptions struct {
	// Replace lets a file take the place of one that is there, in one step. A directory is never replaced.
	Replace bool
	// Owner, if set, becomes the owner of everything that is made.
	Owner *Owner
}

// wants tells whether an extended attribute goes along: what users and programs set, and neither labels nor what
// filesystems and system services keep for themselves.
func (o *MergeOptions) wants(name string) bool {
	if strings.HasPrefix(name, "user.") {
		return true
	}
	return o.Owner == nil && (name == accessACL || name == defaultACL || name == "security.capability")
}

// Owner is for copies between user namespaces, where the users of one side mean nothing on the other. ACLs and
// capabilities, which speak of those users, are not copied then.
type Owner struct {
	UID, GID uint32
	// Distrust drops setuid and setgid bits of files: else a program of any user of the source becomes one that acts as
	// the new owner. Without it only the bits of programs that were not root's already are dropped. Device nodes, which
	// may open nothing where they come from, are refused (EPERM), but for a few that everybody has.
	Distrust bool
}

// refuses tells of a node that must not come to be.
func (o *MergeOptions) refuses(st *unix.Statx_t) bool {
	if o.Owner == nil || !o.Owner.Distrust {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return true
	case unix.S_IFCHR:
		return !slices.Contains(harmless, [2]uint32{st.Rdev_major, st.Rdev_minor})
	}
	return false
}

// harmless are the devices that everybody has: null, zero, full, random, urandom, tty, and the whiteout of overlayfs.
var harmless = [][2]uint32{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {0, 0}}

// mode is what stays of the mode bits of a file.
func (o *Owner) mode(st *unix.Statx_t) uint32 {
	mode := uint32(st.Mode & 0o7777)
	if isDir(st) {
		return mode
	}
	if o.Distrust || st.Uid != 0 {
		mode &^= unix.S_ISUID
	}
	if o.Distrust || st.Gid != 0 {
		mode &^= unix.S_ISGID
	}
	return mode
}

// Merge copies one entry of the directory src, of any kind, to the name dstName of the directory dst. Either side may be
// in use by somebody hostile meanwhile. Neither name may contain a slash.
//
// A file or link that is there already is EEXIST, or replaced. A directory that is there is merged into: it keeps its
// metadata, files in it stay unless they are replaced, and directories in it are merged into again. Other mounts are
// entered on both sides. An error on one entry does not keep the others from being copied: the first one is returned
// at the end. Otherwise Merge is as Copy.
func Merge(ctx context.Context, src *os.File, srcName string, dst *os.File, dstName string, options MergeOptions) error {
	c := copier{
		links: make(map[id]linked), names: make([]byte, maxXattrNames), value: make([]byte, maxXattrValue),
		flags: btrfs.IsBtrfs(src) && btrfs.IsBtrfs(dst), dstRoot: int(dst.Fd()), merge: &options,
	}
	above := &level{as: dstName, src: int(src.Fd()), dst: int(dst.Fd())}
	var st unix.Statx_t
	err := statAt(above.src, srcName, &st)
	if err == nil {
		err = statAt(above.dst, "", &above.made)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", srcName, err)
	}
	top, err := c.entry(ctx, above, srcName)
	if err != nil {
		return fmt.Errorf("%s: %w", srcName, err)
	}
	if top == nil {
		return nil
	}
	c.self = idOf(&top.made)
	if err := c.walk(ctx, top); err != nil {
		return err
	}
	return c.failed
}

// goOn keeps an error for the end, if there is a point in copying more.
func (c *copier) goOn(err error) bool {
	if c.merge == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return false
	}
	if c.failed == nil {
		c.failed = err
	}
	return true
}

// exists deals with an entry whose name is taken at the destination.
func (c *copier) exists(ctx context.Context, in *level, name, to string, st *unix.Statx_t) error {
	if !c.merge.Replace {
		if in.as != "" {
			return unix.EEXIST
		}
		return nil
	}
	temp := ".#" + rand.Text()
	if err := c.leafAs(ctx, in, name, temp, st); err != nil {
		return errors.Join(err, c.discard(in, temp))
	}
	err := unix.Renameat(in.dst, temp, in.dst, to)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTEMPTY) {
		err = unix.EEXIST
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replace: %w", err), c.discard(in, temp))
	}
	c.renamed(in, temp, to, st)
	// Two names of one file: the kernel leaves both as they are.
	return c.discard(in, temp)
}

// discard removes what is left under a temporary name, if anything.
func (c *copier) discard(in *level, temp string) error {
	if err := unix.Unlinkat(in.dst, temp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove temporary file: %w", err)
	}
	return nil
}

// renamed corrects what is remembered of a file that was copied under a temporary name.
func (c *copier) renamed(in *level, temp, to string, st *unix.Statx_t) {
	if first, ok := c.links[idOf(st)]; ok && first.path == in.path(temp) {
		first.path = in.path(to)
		c.links[idOf(st)] = first
	}
}

package copytree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
)

// maxDepth is beyond what a path can name: PATH_MAX is 4096, and each level takes two bytes.
const maxDepth = 2048

// Options for Copy. The zero value is fine.
type Options struct {
	// Progress, if set, is called with the number of bytes that were copied since the last call. Data that is shared,
	// and holes, which take no time, do not count.
	Progress func(bytes int64)
}

func (o Options) copied(bytes int64) {
	if o.Progress != nil {
		o.Progress(bytes)
	}
}

// Copy copies what is in the directory src, and its metadata, to the directory dst, which must be empty: names that are
// there already are an error (EEXIST), as is content of a kind that the destination's filesystem cannot hold.
//
// Copied are owner, mode, extended attributes with ACLs and file capabilities, access and modification times, hard links
// between files of the tree, symbolic links, device nodes, FIFOs and sockets, holes; file data is shared where the
// filesystem can (CopyFile). Of inode flags only no-copy-on-write is kept. Nested btrfs subvolumes become directories.
//
// Only the mount of src is copied: a directory that another mount hides becomes an empty one, other mount points are left
// out. So is dst where it lies inside src, and what disappears from src meanwhile.
//
// On an error, or when ctx ends, dst holds a part of the tree. Attributes of links and devices need /proc.
func Copy(ctx context.Context, src, dst *os.File, options Options) (err error) {
	c := copier{
		links:   make(map[id]linked),
		options: options,
		names:   make([]byte, maxXattrNames),
		value:   make([]byte, maxXattrValue),
		flags:   btrfs.IsBtrfs(src) && btrfs.IsBtrfs(dst),
		dstRoot: int(dst.Fd()),
	}
	var st unix.Statx_t
	if err := statAt(c.dstRoot, "", &st); err != nil {
		return fmt.Errorf("copy to %s: %w", dst.Name(), err)
	}
	c.self = idOf(&st)
	if err := statAt(int(src.Fd()), "", &c.mount); err != nil {
		return fmt.Errorf("copy %s: %w", src.Name(), err)
	}
	if err := dropInheritedACLs(c.dstRoot); err != nil {
		return fmt.Errorf("copy to %s: %w", dst.Name(), err)
	}
	root, err := c.openRoot(src, dst)
	if err != nil {
		return err
	}
	if err := c.walk(ctx, root); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src.Name(), dst.Name(), err)
	}
	return nil
}

type copier struct {
	links   map[id]linked // files with several names that were copied under the first
	options Options
	names   []byte
	value   []byte
	flags   bool // no-copy-on-write has a meaning on both sides
	dstRoot int
	self    id // the destination, not to be copied into itself
	mount   unix.Statx_t
	merge   *MergeOptions // nil: the destination is empty and nobody else's
	failed  error         // the first error of a merge that went on
}

// linked is where a file was copied to: a path relative to dstRoot, and what has to be found there.
type linked struct {
	path string
	id   id
}

// level is a directory being copied. Only the deepest one has its descriptors open.
type level struct {
	in       *level // nil at the top
	name     string
	stat     unix.Statx_t
	src, dst int
	made     unix.Statx_t // the copy
	kept     bool         // the copy was there before, and keeps its metadata
	as       string       // above the top of a merge: the name that its only entry gets
	entries  []string     // still to be copied
}

// to is the name of the copy of an entry.
func (l *level) to(name string) string { return cmp.Or(l.as, name) }

func (c *copier) openRoot(src, dst *os.File) (*level, error) {
	// Opened anew: reading a directory moves its offset, which belongs to the caller.
	l := &level{name: ".", stat: c.mount}
	if err := statAt(int(dst.Fd()), "", &l.made); err != nil {
		return nil, fmt.Errorf("copy to %s: %w", dst.Name(), err)
	}
	var err error
	if l.src, err = openSource(int(src.Fd()), ".", unix.O_DIRECTORY); err != nil {
		return nil, fmt.Errorf("open %s: %w", src.Name(), err)
	}
	if l.dst, err = openAt(int(dst.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dst.Name(), err), unix.Close(l.src))
	}
	if l.entries, err = entries(l.src); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", src.Name(), err), l.close())
	}
	return l, nil
}

// walk copies the directory root and everything below it, depth first. It closes what it opens and root.
func (c *copier) walk(ctx context.Context, root *level) error {
	stack := []*level{root}
	for {
		top := stack[len(stack)-1]
		if err := ctx.Err(); err != nil {
			return errors.Join(err, top.close())
		}
		if len(top.entries) == 0 {
			if err := c.leave(&stack); err != nil {
				return fmt.Errorf("%s: %w", top.path("."), err)
			}
			if len(stack) == 0 {
				return nil
			}
			continue
		}
		name := top.entries[0]
		top.entries = top.entries[1:]
		below, err := c.entry(ctx, top, name)
		if err == nil && below != nil && len(stack) == maxDepth {
			err = errors.Join(ErrTooDeep, below.close())
		}
		if err != nil {
			if err = fmt.Errorf("%s: %w", top.path(name), err); c.goOn(err) {
				continue
			}
			return errors.Join(err, top.close())
		}
		if below != nil {
			stack = append(stack, below)
			if err := top.close(); err != nil {
				return errors.Join(err, below.close())
			}
		}
	}
}

// leave finishes the deepest directory: now that nothing more is made in it, it gets its metadata. The directory above
// it is opened again.
func (c *copier) leave(stack *[]*level) (err error) {
	s := *stack
	done := s[len(s)-1]
	*stack = s[:len(s)-1]
	defer func() { err = errors.Join(err, done.close()) }()
	if !done.kept {
		err := c.applyMetadata(procPath(done.src, "."), done.dst, &done.stat)
		if err != nil && !c.goOn(fmt.Errorf("%s: %w", done.path("."), err)) {
			return err
		}
	}
	if len(*stack) == 0 {
		return nil
	}
	above := (*stack)[len(*stack)-1]
	if above.src, err = openParent(done.src, idOf(&above.stat)); err != nil {
		return err
	}
	if above.dst, err = openParent(done.dst, idOf(&above.made)); err != nil {
		return errors.Join(err, unix.Close(above.src))
	}
	return nil
}

func (l *level) close() error { return errors.Join(unix.Close(l.src), unix.Close(l.dst)) }

// entries reads all names of a directory. They are held in memory, so that the descriptor can be closed on the way down.
func entries(dir int) ([]string, error) {
	buffer := make([]byte, 32<<10)
	var names []string
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.ReadDirent(dir, buffer)
			return err
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names)
	}
}

// path of an entry, relative to the top. It is put together only when needed: kept for each level, the paths of a deep
// tree would take memory by the square of its depth.
func (l *level) path(name string) string {
	names := []string{name}
	for ; l.in != nil; l = l.in {
		names = append(names, l.name)
	}
	slices.Reverse(names)
	return path.Join(names...)
}

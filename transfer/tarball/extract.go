package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/transfer/tarball/pax"
)

// Limits bounds what is taken from an archive; a zero field stands for its default.
type Limits = pax.Limits

// ExtractOptions changes how an archive is unpacked. The zero value is meant for use.
type ExtractOptions struct {
	Limits Limits
	// SELinux restores the attribute security.selinux. It makes sense only where the host enforces SELinux;
	// elsewhere labels would be left over that nothing keeps true.
	SELinux bool
	// Users is how many users and groups there are, in a user namespace; 0 means any number. Owners beyond are
	// replaced by the last but one, entries of ACLs for them are left out, and so are, with a warning, device nodes,
	// hard links to those, and attributes that only the host's root may make.
	Users uint32
	// RootMode are rights that the root of the tree gets besides its own.
	RootMode uint32
	// Warn is told what could not be restored but does not make the tree wrong: file flags that the file system
	// does not know, ACL entries with names in place of numbers, attributes outside the common namespaces.
	// It may be nil.
	Warn func(entry string, err error)
}

// Extract unpacks the archive, tar or cpio, that r delivers into the open directory dir, which should be new and private. It reads
// r to its end, beyond the end of the archive. Names that exist are replaced, directories are kept.
//
// Owners are taken by number. Everything in the archive is restored or is an error, which names the entry, but for what
// ExtractOptions.Warn is told. Directories that no entry lists get the mode 0700.
func Extract(ctx context.Context, r io.Reader, dir *os.File, opts ExtractOptions) (err error) {
	if opts.Warn == nil {
		opts.Warn = func(string, error) {}
	}
	x := &extractor{
		archive: open(contextReader{ctx, r}, opts.Limits),
		opts:    opts,
	}
	if err := x.tree.open(dir); err != nil {
		return fmt.Errorf("open root of the tree: %w", err)
	}
	defer func() { err = errors.Join(err, x.tree.close(err == nil)) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := x.archive.Next()
		if errors.Is(err, io.EOF) {
			return x.archive.Drain()
		}
		if err != nil {
			return fmt.Errorf("archive header at byte %d: %w", x.archive.Offset(), err)
		}
		if err := x.entry(h); err != nil {
			return fmt.Errorf("extract %q: %w", h.Name, err)
		}
	}
}

// contextReader ends a stream with its context. It cannot wake a read that waits; that is up to the stream's owner.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives as long as the call that got it
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type extractor struct {
	archive archive
	tree    tree
	opts    ExtractOptions
	path    []string        // components of the current entry, reused
	leftOut map[string]bool // paths that hard links may lead to
}

// entry unpacks one entry.
func (x *extractor) entry(h *pax.Header) error {
	path, err := splitPath(x.path[:0], h.Name, h.Type == pax.TypeDirectory)
	if err != nil {
		return err
	}
	if path != nil {
		x.path = path
	}
	meta, err := x.metadata(h)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		if h.Type != pax.TypeDirectory {
			return fmt.Errorf("%w: the root of the tree has to be a directory", ErrUnsafePath)
		}
		return x.root(meta)
	}
	parent, name := path[:len(path)-1], path[len(path)-1]
	if err := x.tree.enter(parent); err != nil {
		return err
	}
	switch h.Type {
	case pax.TypeRegular:
		return x.regular(name, h, meta)
	case pax.TypeDirectory:
		return x.directory(name, meta)
	case pax.TypeSymlink:
		return x.symlink(name, h, meta)
	case pax.TypeHardlink:
		return x.hardlink(name, h)
	case pax.TypeChar, pax.TypeBlock, pax.TypeFIFO, pax.TypeSocket:
		return x.node(name, h, meta)
	default:
		return fmt.Errorf("%w %q", ErrUnsupported, byte(h.Type))
	}
}

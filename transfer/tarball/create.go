package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/transfer/tarball/pax"
)

// CreateOptions changes how a directory is packed. The zero value is meant for use.
type CreateOptions struct {
	// SELinux includes the attribute security.selinux.
	SELinux bool
	// Warn is told what is not in the archive as it was in the tree: sockets and FIFOs, which are left out, files
	// that went away or grew in the meantime, attributes outside the common namespaces. It may be nil.
	Warn func(entry string, err error)
}

// Reasons that Warn is given.
var (
	errSkipped  = errors.New("sockets and FIFOs are left out")
	errMount    = errors.New("file mounted from elsewhere is left out")
	errVanished = errors.New("went away while the tree was read")
	errGrew     = errors.New("file grew while it was read; packed up to its first size")
)

// Create packs the open directory dir as a pax archive into w, with names that begin with "./", as systemd has them. The same tree gives the same bytes: entries come in the
// order of their names, owners are numbers, times are those of modification alone. Mount points inside the tree are
// packed as empty directories; subvolumes of btrfs are part of the tree.
//
// The tree may be in use: a file that grows is cut, one that goes away is left out, and one that shrinks is ErrChanged.
func Create(ctx context.Context, w io.Writer, dir *os.File, opts CreateOptions) error {
	if opts.Warn == nil {
		opts.Warn = func(string, error) {}
	}
	root, err := openat(int(dir.Fd()), ".", openDirFlags, 0)
	if err != nil {
		return fmt.Errorf("open root of the tree: %w", err)
	}
	f := os.NewFile(uintptr(root), dir.Name())
	defer f.Close() //nolint:errcheck // only read
	p := &packer{
		ctx:     ctx,
		archive: pax.NewWriter(w),
		opts:    opts,
		seen:    map[inodeID]string{},
	}
	st, err := stat(root, ".")
	if err != nil {
		return fmt.Errorf("stat root of the tree: %w", err)
	}
	p.mount = st.Mnt_id
	if err := p.directory(f, f, ".", "./", &st); err != nil {
		return err
	}
	return p.archive.Close()
}

// inodeID tells hard links of one file.
type inodeID struct {
	major, minor uint32
	ino          uint64
}

type packer struct {
	ctx     context.Context //nolint:containedctx // lives as long as the call that got it
	archive *pax.Writer
	opts    CreateOptions
	mount   uint64
	seen    map[inodeID]string // first names of files with several
}

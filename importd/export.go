package importd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"berth/images"
	"berth/images/copytree"
	"berth/images/foreign"
	"berth/importd/cage"
	"berth/transfer"
	"berth/transfer/compress"
	"berth/transfer/disk"
	"berth/transfer/tarball"

	"golang.org/x/sys/unix"
)

// exportCapabilities let a worker read every file and nothing else.
var exportCapabilities = imageCapabilities[len(imageCapabilities)-2:]

// export writes an image to standard output.
func (s *stage) export(ctx context.Context) (err error) {
	image, err := s.exported(ctx)
	if err != nil {
		return err
	}
	source, err := s.openImage(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	s.report.log(PriorityInfo, "Exporting '%s'.", s.Request.Local)
	still, err := s.standstill(ctx, image, source)
	if err != nil {
		return err
	}
	if still != nil {
		// Its lock keeps it while this process lives.
		defer runtime.KeepAlive(still)
		source = still.File()
	}
	if !isRegular(os.Stdout) {
		defer context.AfterFunc(ctx, func() { s.leave(context.Cause(ctx)) })()
	}
	if err := s.write(ctx, image, source); err != nil {
		// Half an export must not look like one. Pipes cannot be taken back.
		_ = os.Stdout.Truncate(0)
		return fmt.Errorf("export %q: %w", s.Request.Local, err)
	}
	return nil
}

// standstill makes a snapshot of an image in the store, which may be in use, where
// there can be one; else it returns nil, and the tree is packed as it is when it is
// read. Whoever waits for this process removes it.
func (s *stage) standstill(ctx context.Context, image images.Image, source *os.File) (*images.Pending, error) {
	pool, _ := filepath.EvalSymlinks(s.Locations.Pool[s.Request.Class]) // none: the image is elsewhere
	if s.User || image.Type != images.TypeSubvolume || filepath.Dir(image.Path) != pool {
		return nil, nil
	}
	still, err := images.NewPendingSnapshot(ctx, pool, source)
	if err == nil || ctx.Err() != nil {
		return still, err
	}
	s.report.log(PriorityNotice, "Exporting the tree while it may change: %v", err)
	return nil, nil
}

// leave ends the process. It may hang in a pipe that nobody reads: nothing else ends
// that, as the pipe is the caller's, who wants it to block.
func (s *stage) leave(cause error) {
	s.report.send(message{Failure: failureOf(fmt.Errorf("%s: %w", s.Request.Kind, cause))})
	os.Exit(1)
}

// write writes what is exported, in whatever process may read it.
func (s *stage) write(ctx context.Context, image images.Image, source *os.File) error {
	if s.User && s.Request.Kind.Tree() {
		if others, err := foreign.Tree(source); err != nil {
			return err
		} else if others {
			return s.exportForeign(ctx, image, source)
		}
	}
	// By its descriptor: what was mounted for this has no path.
	readable := fmt.Sprintf("/proc/self/fd/%d", source.Fd())
	if err := s.enterCage(cage.Rules{Read: []string{readable}, Capabilities: exportCapabilities}); err != nil {
		return err
	}
	if s.Request.Kind.Tree() {
		return transfer.Pack(ctx, os.Stdout, s.Request.Format, func(ctx context.Context, w io.Writer) error {
			return tarball.Create(ctx, w, source, tarball.CreateOptions{})
		})
	}
	return s.exportDisk(ctx, source)
}

// exported finds what to export, by its name or its path.
func (s *stage) exported(ctx context.Context) (images.Image, error) {
	if s.Request.Source == "" {
		return s.store.Find(ctx, s.Request.Class, s.Request.Local)
	}
	info, err := os.Stat(s.Request.Source)
	if err != nil {
		return images.Image{}, fmt.Errorf("find image to export: %w", err)
	}
	image := images.Image{Name: s.Request.Source, Path: s.Request.Source, Type: images.TypeBlock}
	switch {
	case info.IsDir():
		image.Type = images.TypeDirectory
	case info.Mode().IsRegular():
		image.Type = images.TypeRaw
	}
	return image, nil
}

func (s *stage) openImage(image images.Image) (*os.File, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	isTree := image.Type == images.TypeDirectory || image.Type == images.TypeSubvolume
	switch {
	case s.Request.Kind.Tree() && image.Type == images.TypeMstack:
		return openStack(image)
	case s.Request.Kind.Tree() && !isTree:
		return nil, fmt.Errorf("image %q is of type %s, which cannot be exported as tar: %w", image.Name, image.Type, unix.ENOTDIR)
	case !s.Request.Kind.Tree() && image.Type != images.TypeRaw && image.Type != images.TypeBlock:
		return nil, fmt.Errorf("image %q is of type %s, which cannot be exported as raw: %w", image.Name, image.Type, unix.EISDIR)
	case isTree:
		flags |= unix.O_DIRECTORY
	}
	f, err := os.OpenFile(image.Path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open image %q: %w", image.Name, err)
	}
	return f, nil
}

// exportDisk copies with holes and shared blocks where input and output can,
// and as a plain stream otherwise.
func (s *stage) exportDisk(ctx context.Context, source *os.File) error {
	var in, out unix.Stat_t
	if err := errors.Join(unix.Fstat(int(source.Fd()), &in), unix.Fstat(int(os.Stdout.Fd()), &out)); err != nil {
		return err
	}
	regular := in.Mode&unix.S_IFMT == unix.S_IFREG && out.Mode&unix.S_IFMT == unix.S_IFREG
	if s.Request.Format == compress.None && regular && out.Size == 0 {
		if err := copytree.CopyFile(ctx, source, os.Stdout, copytree.Options{}); err != nil {
			return err
		}
	} else if err := s.packDisk(ctx, source, in.Size); err != nil {
		return err
	}
	if regular {
		_ = images.CopyFacts(os.Stdout, source) // as far as the caller's file system can keep them
	}
	return nil
}

// packDisk copies as a stream.
func (s *stage) packDisk(ctx context.Context, source *os.File, size int64) error {
	stop := s.sample(offset(source), constant(size), 1)
	defer stop()
	return transfer.Pack(ctx, os.Stdout, s.Request.Format, func(ctx context.Context, w io.Writer) error {
		_, err := disk.Copy(ctx, w, source)
		return err
	})
}

package importd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"berth/images"
	"berth/images/copytree"
	"berth/images/foreign"
	"berth/importd/cage"
	"berth/transfer"
	"berth/transfer/compress"
	"berth/transfer/tarball"
)

// The trees of a user who is not root belong to the foreign range: what fills, copies, empties and packs them runs in
// user namespaces, and is started before the worker enters its cage, which would go along.

// trees is whoever works on such trees; nil for root, who needs nobody.
func (c *Config) trees(holds ...*os.File) *foreign.User {
	if !c.User || os.Geteuid() == 0 {
		return nil
	}
	return foreign.NewUser(c.Foreign, holds...)
}

// manyOwners says whether the tree that this worker makes will belong to the foreign range: that of an archive, and a
// copy of one that does.
func (s *stage) manyOwners() (bool, error) {
	if !s.User || os.Geteuid() == 0 {
		return false, nil
	}
	switch s.Request.Kind {
	case PullTar, ImportTar:
		return true, nil
	case ImportFS:
		return foreign.Tree(os.Stdin)
	}
	return false, nil
}

// holdTrees starts what works on trees of the foreign range, if this transfer makes or replaces one. release must be
// called.
func (s *stage) holdTrees(ctx context.Context) (release func() error, err error) {
	nothing := func() error { return nil }
	if s.foreign, err = s.manyOwners(); err != nil {
		return nothing, err
	}
	replaces, err := s.replacesForeign()
	if err != nil || !s.foreign && !replaces {
		return nothing, err
	}
	if err := s.trees.Hold(ctx); err != nil {
		return nothing, err
	}
	return s.trees.Release, nil
}

// replacesForeign says whether a tree of the foreign range goes when the image is there.
func (s *stage) replacesForeign() (bool, error) {
	if !s.Request.Force || s.Request.Direct != nil {
		return false, nil
	}
	root, err := os.Open(s.Request.ImageRoot)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into the image root: %w", err)
	}
	defer root.Close()
	return foreign.TreeAt(root, s.Request.Local)
}

// inSpace starts this program as an unpacker in a user namespace, where it gets the trees with the owners of that. The
// first tree's open file goes along: it holds a lock.
func (s *stage) inSpace(ctx context.Context, j unpackJob, files []*os.File, trees ...*os.File) (_ *foreign.Process, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("write the job: %w", err)
	}
	p, err := s.trees.Start(ctx, []string{UnpackerName, string(text)}, os.ProcAttr{Env: os.Environ(), Files: files}, targetFD)
	if err != nil {
		return nil, err
	}
	handed := []*os.File{}
	defer func() {
		for _, f := range handed {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			err = errors.Join(err, p.Abort())
		}
	}()
	for _, tree := range trees {
		mount, err := p.Mount(ctx, tree)
		if err != nil {
			return nil, err
		}
		handed = append(handed, mount)
	}
	if err := p.Hand(append(handed[:len(handed):len(handed)], trees[0])...); err != nil {
		return nil, err
	}
	return p, nil
}

// startForeign is startUnpacker for a tree of the foreign range.
func (s *stage) startForeign(ctx context.Context, j unpackJob, files []*os.File, into receiver) (*foreign.Process, error) {
	trees := []*os.File{into.File()}
	if j.Kind == ImportFS {
		trees = append(trees, files[0])
	}
	j.Foreign = true
	return s.inSpace(ctx, j, files, trees...)
}

// exportForeign packs a tree of the foreign range in a process that can read it.
func (s *stage) exportForeign(ctx context.Context, image images.Image, source *os.File) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("make the packer's pipe: %w", err), null.Close())
	}
	j := unpackJob{Kind: ExportTar, Format: s.Request.Format, Foreign: true}
	files := []*os.File{null, os.Stdout, os.Stderr, theirs, nil, null, s.control}
	p, err := s.inSpace(ctx, j, files, source)
	err = errors.Join(err, theirs.Close(), null.Close())
	if err != nil {
		return errors.Join(err, ours.Close())
	}
	u := newUnpacker(p.OS, ours, p, s.report)
	defer context.AfterFunc(ctx, u.kill)()
	if err := s.enterCage(cage.Rules{Read: []string{image.Path}, Capabilities: exportCapabilities}); err != nil {
		u.kill()
		return errors.Join(err, u.wait())
	}
	err = u.wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// inside is the life of a process that [stage.inSpace] started.
func (s *stage) inside(ctx context.Context, j unpackJob) (err error) {
	space, err := foreign.Enter(targetFD)
	if err != nil {
		return err
	}
	ctx, stop := space.EndWithStarter(ctx)
	defer stop()
	top, err := foreign.Open(space.Files[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	switch j.Kind {
	case ExportTar:
		return s.packInside(ctx, j.Format, top)
	case ImportFS:
		source, err := foreign.Open(space.Files[1])
		if err != nil {
			return err
		}
		defer source.Close()
		return s.copyInside(ctx, source, top)
	}
	return s.unpackInside(ctx, j, top)
}

// byDescriptor is the path of an open file that only this process can have.
func byDescriptor(f *os.File) string { return filepath.Join("/proc/self/fd", fmt.Sprint(f.Fd())) }

func (s *stage) packInside(ctx context.Context, format compress.Format, top *os.File) error {
	// Whoever reads an export may leave; that is an error to tell, not a death.
	signal.Ignore(syscall.SIGPIPE)
	if err := s.enterCage(cage.Rules{Read: []string{byDescriptor(top)}, Capabilities: exportCapabilities}); err != nil {
		return err
	}
	return transfer.Pack(ctx, os.Stdout, format, func(ctx context.Context, w io.Writer) error {
		return tarball.Create(ctx, w, top, tarball.CreateOptions{})
	})
}

func (s *stage) copyInside(ctx context.Context, source, top *os.File) error {
	rules := cage.Rules{Read: []string{byDescriptor(source)}, Write: []string{byDescriptor(top)}, Capabilities: imageCapabilities}
	if err := s.enterCage(rules); err != nil {
		return err
	}
	if err := copytree.Copy(ctx, source, top, copytree.Options{}); err != nil {
		return err
	}
	return s.finishInside(ctx, ImportFS, top)
}

func (s *stage) unpackInside(ctx context.Context, j unpackJob, top *os.File) error {
	if err := s.enterCage(cage.Rules{Write: []string{byDescriptor(top)}, Capabilities: imageCapabilities}); err != nil {
		return err
	}
	o := s.treeOptions(j)
	o.Users, o.TopMode = foreign.Size, foreign.TopMode
	if err := transfer.Unpack(ctx, os.Stdin, transfer.Tree(top, o)); err != nil {
		return err
	}
	return s.finishInside(ctx, j.Kind, top)
}

// finishInside does what an image needs before it is named, and what only its root can.
func (s *stage) finishInside(ctx context.Context, kind Kind, top *os.File) error {
	if err := s.finishTree(ctx, kind, top); err != nil {
		return err
	}
	return foreign.LetIn(top)
}

package images

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"berth/images/copytree"
)

// CloneOptions for Clone. The zero value is fine.
type CloneOptions struct {
	// ReadOnly marks the copy.
	ReadOnly bool
	// Progress, if set, is called while data is copied with how many bytes are by now, and of how many; zero is unknown,
	// as for trees. It is not called for what is shared, nor for trees that another process copies (see foreign.User).
	Progress func(copied, total int64)
}

// counting makes what a copy of so many bytes reports to.
func (o CloneOptions) counting(total int64) copytree.Options {
	if o.Progress == nil {
		return copytree.Options{}
	}
	copied := int64(0)
	return copytree.Options{Progress: func(bytes int64) {
		copied += bytes
		o.Progress(copied, total)
	}}
}

// Clone makes a copy of src in the pool of its class: a snapshot or a copy that
// shares blocks where the file system can. Settings and auxiliary files are
// copied first, so that the new image never runs without its own; such files
// that are there already under the new name stay. The host image can be cloned.
// Block devices and mount stacks cannot ([ErrNotSupported]).
func (s *Store) Clone(ctx context.Context, src Image, newName string, options CloneOptions) error {
	if err := s.clone(ctx, src, newName, options); err != nil {
		return fmt.Errorf("clone image %q to %q: %w", src.Name, newName, err)
	}
	return nil
}

func (s *Store) clone(ctx context.Context, src Image, newName string, options CloneOptions) (err error) {
	pool, from := s.places.Pool[src.Class], backendOf(src.Type)
	if pool == "" {
		return fmt.Errorf("%w: no place for images of class %s", ErrNotSupported, src.Class)
	}
	newFile := newName + from.suffix()
	if err := validFile(src.Class, newName, newFile); err != nil {
		return err
	}
	name, err := s.claim(ctx, src.Class, newName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, name.Release()) }()
	p, err := from.clone(ctx, s.trees, src, pool, options)
	if err != nil {
		return err
	}
	// A machine that runs from the image holds its lock, which is no reason not
	// to copy it; a removal renames it first, and that shows here.
	if err := s.stillThere(src); err != nil {
		return errors.Join(err, p.Discard())
	}
	made, err := s.copyAuxiliary(ctx, src, filepath.Dir(p.Path()), newName)
	if err != nil {
		return errors.Join(err, removeFiles(made), p.Discard())
	}
	err = p.Commit(ctx, newFile, CommitOptions{ReadOnly: options.ReadOnly, Sync: true})
	if err != nil && !errors.Is(err, ErrAuxiliary) {
		return errors.Join(err, removeFiles(made), p.Discard())
	}
	return err
}

func (s *Store) stillThere(img Image) error {
	if img.Host() {
		return nil
	}
	_, dir, err := s.again(img)
	if err != nil {
		return err
	}
	return dir.Close()
}

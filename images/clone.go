package images

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Clone makes a copy of src in the pool of its class: a snapshot or a copy that
// shares blocks where the file system can. Settings and auxiliary files are
// copied first, so that the new image never runs without its own; such files
// that are there already under the new name stay. The host image can be cloned.
// Block devices and mount stacks cannot ([ErrNotSupported]).
func (s *Store) Clone(ctx context.Context, src Image, newName string, readOnly bool) error {
	if err := s.clone(ctx, src, newName, readOnly); err != nil {
		return fmt.Errorf("clone image %q to %q: %w", src.Name, newName, err)
	}
	return nil
}

func (s *Store) clone(ctx context.Context, src Image, newName string, readOnly bool) (err error) {
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
	p, err := from.clone(ctx, s.trees, src, pool)
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
	err = p.Commit(ctx, newFile, CommitOptions{ReadOnly: readOnly, Sync: true})
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

package images

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Rename gives the image another name in the same directory; settings and
// auxiliary files follow it. The new name must be free in every search directory
// of the class ([ErrExists]). Refused are vendor and host images ([ErrReadOnly]),
// and mount stacks, symlinked and versioned images ([ErrNotSupported]), whose
// names stand in more places than one.
//
// An error that wraps [ErrAuxiliary] means that the image has its new name.
func (s *Store) Rename(ctx context.Context, img Image, newName string) (err error) {
	if err := s.rename(ctx, img, newName); err != nil {
		return fmt.Errorf("rename image %q to %q: %w", img.Name, newName, err)
	}
	return nil
}

func (s *Store) rename(ctx context.Context, img Image, newName string) (err error) {
	c, err := s.begin(ctx, img)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	newFile := newName + strings.TrimPrefix(c.file, c.image.Name)
	if err := c.renamable(newName, newFile); err != nil {
		return err
	}
	name, err := s.claim(ctx, img.Class, newName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, name.Release()) }()
	was, err := setImmutableAt(c.parent, c.file, false)
	if err != nil {
		return err
	}
	result, renamed := newFile, renameNew(c.parent, c.file, newFile)
	if renamed != nil {
		result = c.file
	}
	if was {
		if _, err := setImmutableAt(c.parent, result, true); err != nil {
			renamed = errors.Join(renamed, err)
		}
	}
	if renamed != nil {
		return renamed
	}
	if err := c.parent.Sync(); err != nil {
		return fmt.Errorf("sync image directory: %w", err)
	}
	return s.renameAuxiliary(c.image, newName)
}

func (c *change) renamable(newName, newFile string) error {
	switch img := c.image; {
	case img.Type == TypeMstack:
		return fmt.Errorf("%w: a mount stack cannot be renamed", ErrNotSupported)
	case img.Type == TypeBlock && underDev(img.Path):
		return fmt.Errorf("%w: it is a device of the kernel", ErrReadOnly)
	case img.linked():
		return fmt.Errorf("%w: %s is a symlink", ErrNotSupported, img.Entry)
	case img.Versioned:
		return fmt.Errorf("%w: it is one of several versions", ErrNotSupported)
	}
	return validFile(c.image.Class, newName, newFile)
}

// validFile makes sure that a file called so will be read as an image of that name.
func validFile(c Class, name, file string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	if err := ValidName(file); err != nil {
		return err
	}
	for _, f := range forms(c) {
		if got, ok := f.name(c, file); ok && got == name {
			return nil
		}
	}
	return fmt.Errorf("%w %q: the suffix means another type of image", ErrInvalidName, name)
}

// claim locks a name and makes sure that no image has it.
func (s *Store) claim(ctx context.Context, c Class, name string) (*Lock, error) {
	l, err := s.LockName(name)
	if err != nil {
		return nil, err
	}
	taken, err := s.exists(ctx, c, name)
	if err == nil && taken {
		err = ErrExists
	}
	if err != nil {
		return nil, errors.Join(err, l.Release())
	}
	return l, nil
}

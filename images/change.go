package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// change is an image that is about to be changed: locked, read anew under the
// lock, with its directory open.
type change struct {
	image  Image
	parent *os.File
	file   string // in parent
	lock   *Lock
}

// begin locks an image for a change. Vendor and host images are refused. The
// image has to be still what the caller found, since it was the caller who
// decided that this image may be changed.
func (s *Store) begin(ctx context.Context, img Image) (_ *change, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if img.Host() {
		return nil, fmt.Errorf("%w: it is the host's own tree", ErrReadOnly)
	}
	if img.Vendor() || s.places.vendor(img.Path) {
		return nil, fmt.Errorf("%w: it belongs to the host's operating system", ErrReadOnly)
	}
	c := &change{file: filepath.Base(img.entry())}
	if c.lock, err = s.LockImage(img, true); err != nil {
		return nil, err
	}
	if c.image, c.parent, err = s.again(img); err != nil {
		return nil, errors.Join(err, c.lock.Release())
	}
	return c, nil
}

func (c *change) end() error { return errors.Join(c.lock.Release(), c.parent.Close()) }

// again reads an image anew and opens the directory of its entry.
func (s *Store) again(img Image) (Image, *os.File, error) {
	p, err := s.open(img.Class, filepath.Dir(img.entry()))
	if err != nil {
		return Image{}, nil, err
	}
	if p == nil {
		return Image{}, nil, fmt.Errorf("%w: its directory has gone", ErrNotFound)
	}
	fresh, err := p.same(img)
	if err != nil {
		return Image{}, nil, errors.Join(err, p.file.Close())
	}
	return fresh, p.file, nil
}

// same reads the entry of img and makes sure that it leads to the same place.
func (p *place) same(img Image) (Image, error) {
	e, err := p.stat(filepath.Base(img.entry()))
	if errors.Is(err, errNoImage) {
		return Image{}, fmt.Errorf("%w: it has gone", ErrNotFound)
	}
	if err != nil {
		return Image{}, err
	}
	if e.path != img.Path || e.imageType() != img.Type {
		return Image{}, fmt.Errorf("%w: something else has taken its place", ErrNotFound)
	}
	fresh, err := p.image(img.Name, e)
	fresh.Versioned = img.Versioned
	return fresh, err
}

// SetReadOnly marks the image read-only or writable, by the flag that its type
// has. Of a symlinked image that is the target's, of a versioned image the
// picked entry's. Vendor, host and hidden images are refused with [ErrReadOnly],
// mount stacks with [ErrNotSupported].
func (s *Store) SetReadOnly(ctx context.Context, img Image, readOnly bool) (err error) {
	step := func(err error) error { return fmt.Errorf("set read-only mark of image %q: %w", img.Name, err) }
	if img.Hidden() {
		return step(fmt.Errorf("%w: hidden images stay read-only", ErrReadOnly))
	}
	c, err := s.begin(ctx, img)
	if err != nil {
		return step(err)
	}
	defer func() { err = errors.Join(err, c.end()) }()
	err = backendOf(c.image.Type).setReadOnly(c.image.Path, readOnly)
	if unsupported(err) {
		err = fmt.Errorf("%w: the file system has no such flag: %w", ErrNotSupported, err)
	}
	if err != nil {
		return step(err)
	}
	return nil
}

// Remove deletes an image with its settings and auxiliary files. Of a symlinked
// image the link goes and the target stays; of a versioned image the picked
// entry goes, which uncovers the next. Vendor and host images are refused with
// [ErrReadOnly]. When ctx ends in the middle the image is not listed any more,
// and a sweep removes the rest.
func (s *Store) Remove(ctx context.Context, img Image) (err error) {
	c, err := s.begin(ctx, img)
	if err != nil {
		return fmt.Errorf("remove image %q: %w", img.Name, err)
	}
	defer func() { err = errors.Join(err, c.end()) }()
	if c.image.linked() {
		err = unlink(c.parent, c.file)
	} else {
		err = backendOf(c.image.Type).remove(ctx, s.trees, c.parent, c.file)
	}
	if errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err == nil && !c.image.Versioned {
		err = s.removeAuxiliary(ctx, c.image)
	}
	if err != nil {
		return fmt.Errorf("remove image %q: %w", img.Name, err)
	}
	return nil
}

package machined

import (
	"context"
	"fmt"

	"berth/images"
)

// ImageStore is what the Manager needs of *images.Store.
type ImageStore interface {
	ImageReader
	ImageChanger
	ImageLimiter
}

// ImageReader looks at images.
type ImageReader interface {
	List(ctx context.Context, classes ...images.Class) ([]images.Image, error)
	Find(ctx context.Context, class images.Class, name string) (images.Image, error)
	Metadata(ctx context.Context, image images.Image) (images.Metadata, error)
}

// ImageChanger changes images.
type ImageChanger interface {
	Clone(ctx context.Context, src images.Image, newName string, options images.CloneOptions) error
	Rename(ctx context.Context, image images.Image, newName string) error
	Remove(ctx context.Context, image images.Image) error
	SetReadOnly(ctx context.Context, image images.Image, readOnly bool) error
	Clean(ctx context.Context, class images.Class, mode images.CleanMode) ([]images.Removed, error)
}

// ImageLimiter limits what images take up; images.NoLimit lifts a limit.
type ImageLimiter interface {
	SetLimit(ctx context.Context, image images.Image, bytes uint64) error
	SetPoolLimit(ctx context.Context, class images.Class, bytes uint64) error
}

var _ ImageStore = (*images.Store)(nil)

// Images lists all images of class machine, hidden ones too.
func (m *Manager) Images(ctx context.Context) ([]images.Image, error) {
	store, err := m.store()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return store.List(ctx, images.ClassMachine)
}

// Image finds an image of class machine; images.ErrNotFound.
func (m *Manager) Image(ctx context.Context, name string) (images.Image, error) {
	store, err := m.store()
	if err != nil {
		return images.Image{}, fmt.Errorf("find image %s: %w", name, err)
	}
	return store.Find(ctx, images.ClassMachine, name)
}

func (m *Manager) store() (ImageStore, error) {
	if m.config.Images == nil {
		return nil, fmt.Errorf("%w: no store of images", ErrNotSupported)
	}
	return m.config.Images, nil
}

// The verbs below look the image up anew and end early with ctx; those that take
// time are operations (see [ErrTooManyOperations]). Their errors wrap those of
// package images.

// conduct is how a job is run: [Manager.operate] or [Manager.attend].
type conduct func(ctx context.Context, what string, job func(context.Context) error) error

// ImageMetadata reads what an image says about itself. That of a disk takes time.
func (m *Manager) ImageMetadata(ctx context.Context, name string) (data images.Metadata, err error) {
	image, err := m.Image(ctx, name)
	if err != nil {
		return data, fmt.Errorf("read metadata of image %s: %w", name, err)
	}
	how := m.attend
	if image.Type == images.TypeRaw || image.Type == images.TypeBlock {
		how = m.operate
	}
	err = m.onStore(ctx, how, "read metadata of image "+name, func(ctx context.Context, store ImageStore) (err error) {
		data, err = store.Metadata(ctx, image)
		return err
	})
	return data, err
}

// CloneImage copies an image into the pool.
func (m *Manager) CloneImage(ctx context.Context, name, newName string, options images.CloneOptions) error {
	return m.onImage(ctx, m.operate, "clone", name, func(ctx context.Context, store ImageStore, image images.Image) error {
		return store.Clone(ctx, image, newName, options)
	})
}

// RenameImage gives an image another name in its place.
func (m *Manager) RenameImage(ctx context.Context, name, newName string) error {
	return m.onImage(ctx, m.attend, "rename", name, func(ctx context.Context, store ImageStore, image images.Image) error {
		return store.Rename(ctx, image, newName)
	})
}

// RemoveImage deletes an image and its settings.
func (m *Manager) RemoveImage(ctx context.Context, name string) error {
	return m.onImage(ctx, m.operate, "remove", name, func(ctx context.Context, store ImageStore, image images.Image) error {
		return store.Remove(ctx, image)
	})
}

// SetImageReadOnly marks an image read-only or writable.
func (m *Manager) SetImageReadOnly(ctx context.Context, name string, readOnly bool) error {
	return m.onImage(ctx, m.attend, "mark", name, func(ctx context.Context, store ImageStore, image images.Image) error {
		return store.SetReadOnly(ctx, image, readOnly)
	})
}

// SetImageLimit limits how many bytes an image may take up; [ErrInvalidArgument]
// for what is no size.
func (m *Manager) SetImageLimit(ctx context.Context, name string, bytes uint64) error {
	if err := validLimit(bytes); err != nil {
		return err
	}
	return m.onImage(ctx, m.attend, "limit", name, func(ctx context.Context, store ImageStore, image images.Image) error {
		return store.SetLimit(ctx, image, bytes)
	})
}

// SetPoolLimit limits how many bytes all images together may take up;
// [ErrInvalidArgument] for what is no size.
func (m *Manager) SetPoolLimit(ctx context.Context, bytes uint64) error {
	if err := validLimit(bytes); err != nil {
		return err
	}
	return m.onStore(ctx, m.attend, "limit pool", func(ctx context.Context, store ImageStore) error {
		return store.SetPoolLimit(ctx, images.ClassMachine, bytes)
	})
}

func validLimit(bytes uint64) error {
	if !images.ValidLimit(bytes) {
		return fmt.Errorf("%w: %d is no size of images", ErrInvalidArgument, bytes)
	}
	return nil
}

// CleanPool removes hidden or all images and tells which; those in use stay.
// The list is right also when an error is returned.
func (m *Manager) CleanPool(ctx context.Context, mode images.CleanMode) (removed []images.Removed, err error) {
	err = m.onStore(ctx, m.operate, "clean pool", func(ctx context.Context, store ImageStore) (err error) {
		removed, err = store.Clean(ctx, images.ClassMachine, mode)
		return err
	})
	return removed, err
}

func (m *Manager) onStore(ctx context.Context, how conduct, what string, job func(context.Context, ImageStore) error) error {
	store, err := m.store()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return how(ctx, what, func(ctx context.Context) error { return job(ctx, store) })
}

func (m *Manager) onImage(
	ctx context.Context, how conduct, verb, name string, job func(context.Context, ImageStore, images.Image) error,
) error {
	return m.onStore(ctx, how, verb+" image "+name, func(ctx context.Context, store ImageStore) error {
		image, err := store.Find(ctx, images.ClassMachine, name)
		if err != nil {
			return err
		}
		return job(ctx, store, image)
	})
}

// attend is operate for a job that is done at once, and so may always begin.
func (m *Manager) attend(ctx context.Context, what string, job func(context.Context) error) error {
	if err := m.begin(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer m.background.Done()
	if err := job(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

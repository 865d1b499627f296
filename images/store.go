package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/images/foreign"
)

// Store reads and changes the images in a set of [Locations]. What it remembers is
// true only as long as the file system says so: two stores, or a store and a stock
// daemon, may work side by side.
type Store struct {
	places Locations
	disks  DiskReader
	trees  *foreign.User
	births births
}

// NewStore returns a store over the given places.
func NewStore(l Locations) *Store { return &Store{places: l} }

// ReadDisks has the store read the metadata of disks too. It is to be called
// before the store is used.
func (s *Store) ReadDisks(r DiskReader) { s.disks = r }

// Locations returns the places that the store works on.
func (s *Store) Locations() Locations { return s.places }

// List returns the images of the given classes, of all classes when none is
// given, hidden ones included, sorted by class and name. Directories that do
// not exist and entries that cannot be read are left out.
func (s *Store) List(ctx context.Context, classes ...Class) ([]Image, error) {
	var out []Image
	for _, c := range Classes() {
		if len(classes) > 0 && !slices.Contains(classes, c) {
			continue
		}
		found, err := s.listClass(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("list %s images: %w", c, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func (s *Store) listClass(ctx context.Context, c Class) ([]Image, error) {
	var out []Image
	seen := map[string]bool{}
	for _, dir := range s.places.Search[c] {
		found, err := s.listDir(ctx, c, dir)
		if err != nil {
			return nil, err
		}
		out = slices.Grow(out, len(found))
		for _, img := range found {
			if !seen[img.Name] {
				seen[img.Name] = true
				out = append(out, img)
			}
		}
	}
	if s.hasHost(c) && !seen[HostName] {
		host, err := s.host()
		if err != nil {
			return nil, err
		}
		out = append(out, host)
	}
	slices.SortFunc(out, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Store) listDir(ctx context.Context, c Class, dir string) ([]Image, error) {
	p, err := s.open(c, dir)
	if p == nil || err != nil {
		return nil, err
	}
	defer p.file.Close()
	return p.list(ctx)
}

// Find returns the image of that name. The error wraps [ErrNotFound] when there
// is none, also when the name could never be one.
func (s *Store) Find(ctx context.Context, c Class, name string) (Image, error) {
	if err := ValidName(name); err != nil {
		return Image{}, fmt.Errorf("find %s image: %w: %w", c, ErrNotFound, err)
	}
	for _, dir := range s.places.Search[c] {
		if err := ctx.Err(); err != nil {
			return Image{}, err
		}
		img, err := s.findIn(c, dir, name)
		if errors.Is(err, errNoImage) {
			continue
		}
		if err != nil {
			return Image{}, fmt.Errorf("find %s image %q: %w", c, name, err)
		}
		return img, nil
	}
	if name == HostName && s.hasHost(c) {
		return s.host()
	}
	return Image{}, fmt.Errorf("find %s image %q: %w", c, name, ErrNotFound)
}

func (s *Store) findIn(c Class, dir, name string) (Image, error) {
	p, err := s.open(c, dir)
	if err != nil {
		return Image{}, err
	}
	if p == nil {
		return Image{}, errNoImage
	}
	defer p.file.Close()
	return p.find(name)
}

func (s *Store) hasHost(c Class) bool { return s.places.Host && c == ClassMachine }

// host is the image of the host's own tree.
func (s *Store) host() (Image, error) {
	p, err := s.open(ClassMachine, "/")
	if err != nil {
		return Image{}, err
	}
	defer p.file.Close()
	e, err := p.stat(".")
	if err != nil {
		return Image{}, err
	}
	return p.image(HostName, e)
}

func (s *Store) exists(ctx context.Context, c Class, name string) (bool, error) {
	_, err := s.Find(ctx, c, name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

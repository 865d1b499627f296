package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// place is one search directory, opened.
type place struct {
	class  Class
	dir    string // resolved
	file   *os.File
	vendor func(path string) bool
	births *births
	mounts mounts
}

// open opens a search directory; nil without error when there is none.
func (s *Store) open(c Class, dir string) (*place, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find image directory: %w", err)
	}
	file, err := os.OpenFile(resolved, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open image directory: %w", err)
	}
	return &place{class: c, dir: resolved, file: file, vendor: s.places.vendor, births: &s.births, mounts: mounts{}}, nil
}

// candidate is one reading of one file name.
type candidate struct {
	name, file string
	rank       int
	form       form
}

// list returns the images of the directory, sorted by name. An entry that
// cannot be read is left out: it must not hide the others.
func (p *place) list(ctx context.Context) ([]Image, error) {
	files, err := p.file.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list image directory: %w", err)
	}
	all := candidates(p.class, files)
	out := make([]Image, 0, len(all))
	for _, c := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(out) > 0 && out[len(out)-1].Name == c.name {
			continue
		}
		if img, err := p.inspect(c); err == nil {
			out = append(out, img)
		}
	}
	return out, nil
}

// candidates returns every reading of every file name, by name and rank.
func candidates(class Class, files []string) []candidate {
	kinds := forms(class)
	var out []candidate
	for _, file := range files {
		for rank, f := range kinds {
			if name, ok := f.name(class, file); ok {
				out = append(out, candidate{name, file, rank, f})
			}
		}
	}
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rank, b.rank))
	})
	return out
}

// find looks for one name by the same rules as list, without reading the
// whole directory.
func (p *place) find(name string) (Image, error) {
	for rank, f := range forms(p.class) {
		file := f.file(name)
		if got, ok := f.name(p.class, file); !ok || got != name || len(file) > maxName {
			continue
		}
		img, err := p.inspect(candidate{name, file, rank, f})
		if errors.Is(err, errNoImage) {
			continue
		}
		return img, err
	}
	return Image{}, errNoImage
}

// errNoImage means that an entry is not there or of the wrong kind.
var errNoImage = errors.New("entry is no image")

// inspect reads the facts of one entry.
func (p *place) inspect(c candidate) (Image, error) {
	e, err := p.stat(c.file)
	if err != nil {
		return Image{}, err
	}
	if !c.form.allows(e.stat.Mode) {
		return Image{}, errNoImage
	}
	if c.form.versioned {
		return p.pick(c, e)
	}
	return p.image(c.name, e)
}

// image turns an entry into an image.
func (p *place) image(name string, e entry) (Image, error) {
	img := Image{
		Name: name, Class: p.class, Path: e.path, Entry: e.full, Type: e.imageType(),
		Usage: Unknown, UsageExclusive: Unknown, Limit: Unknown, LimitExclusive: Unknown,
	}
	img.vendor = p.vendor(img.Path)
	if err := backendOf(img.Type).facts(e, &img); err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", img.Entry, err)
	}
	if img.Hidden() || img.Vendor() || img.Host() || p.mounts.readOnly(e) {
		img.ReadOnly = true
	}
	return img, nil
}

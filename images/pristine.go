package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is the form in which an image is downloaded.
type Kind string

// The kinds of downloads that are kept as pristine images.
const (
	KindTar Kind = "tar"
	KindRaw Kind = "raw"
)

// Pristine names the unchanged copies of one download that are kept as hidden
// images, one per ETag: ".tar-URL.ETAG" and ".raw-URL.ETAG.raw" in Root, with
// URL and ETag escaped, or a hash in place of a long URL.
type Pristine struct {
	Root string
	Kind Kind
	URL  string
}

// PristineImage is one kept copy.
type PristineImage struct {
	// Name is the file name in the root, with suffix.
	Name string
	// ETag is empty for a copy whose server sent none.
	ETag string
}

// pristinePathMax is the length of a path, root included, from which the name
// holds a hash in place of the URL.
const pristinePathMax = 240

// pristineHashKey makes the hash the same on every host.
func pristineHashKey() [16]byte {
	return [16]byte{0xdf, 0x89, 0x16, 0x87, 0x01, 0xcc, 0x42, 0x30, 0x98, 0xab, 0x4a, 0x19, 0xa6, 0xa5, 0x63, 0x4f}
}

// FileName returns the file name of the copy with that ETag. Without ETag, or
// with one that fits no file name, there is one name per URL: the next download
// replaces it.
func (p Pristine) FileName(etag string) string {
	if p.Kind == KindRaw {
		return p.AuxName(etag, ".raw")
	}
	return p.AuxName(etag, "")
}

// AuxName returns the file name of a file that belongs to the copy, such as
// ".nspawn" or ".roothash"; etag is that of the main file.
func (p Pristine) AuxName(etag, suffix string) string {
	tail := suffix
	if etag != "" {
		tail = "." + escapeName(etag) + suffix
	}
	name := p.prefix() + escapeName(p.URL) + tail
	if len(p.Root)+1+len(name) >= pristinePathMax {
		name = p.prefix() + p.hash() + tail
	}
	if len(name) > maxName && etag != "" {
		return p.AuxName("", suffix)
	}
	return name
}

func (p Pristine) prefix() string { return "." + string(p.Kind) + "-" }

// hash takes the URL with the NUL byte that ends it in C, as the names on
// existing hosts were made that way.
func (p Pristine) hash() string {
	return fmt.Sprintf("%x", siphash(pristineHashKey(), append([]byte(p.URL), 0)))
}

// Find returns the copies that are there, in order of their names. A root that
// does not exist holds none.
func (p Pristine) Find() ([]PristineImage, error) {
	entries, err := os.ReadDir(p.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for pristine images: %w", err)
	}
	var found []PristineImage
	for _, e := range entries {
		if e.IsDir() != (p.Kind == KindTar) || !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		if etag, ok := p.etagOf(e.Name()); ok && p.keeps(e.Name()) {
			found = append(found, PristineImage{Name: e.Name(), ETag: etag})
		}
	}
	slices.SortFunc(found, func(a, b PristineImage) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// etagOf reads the ETag out of a file name of this URL. Whether the URL was
// hashed depends on the ETag's length, so both forms are tried.
func (p Pristine) etagOf(name string) (etag string, ok bool) {
	rest, ok := strings.CutPrefix(name, p.prefix())
	if p.Kind == KindRaw && ok {
		rest, ok = strings.CutSuffix(rest, ".raw")
	}
	if !ok {
		return "", false
	}
	for _, head := range []string{escapeName(p.URL), p.hash()} {
		tail, ok := strings.CutPrefix(rest, head)
		if !ok || tail != "" && tail[0] != '.' {
			continue
		}
		if tail == "" {
			return "", true
		}
		if etag, err := unescapeName(tail[1:]); err == nil && looksLikeETag(etag) {
			return etag, true
		}
	}
	return "", false
}

// keeps guards against two URLs with one hash: a file that says where it came
// from must have come from this URL.
func (p Pristine) keeps(name string) bool {
	source, err := getXattr(filepath.Join(p.Root, name), xattrSourceURL)
	return err != nil || string(source) == p.URL
}

func looksLikeETag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	return len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"'
}

package images

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tempPrefix begins the name of every entry that is no image: pending images,
// leftovers, spools and lock files.
const tempPrefix = ".#"

// maxName is NAME_MAX of Linux, in bytes.
const maxName = 255

// ValidName returns an error that wraps [ErrInvalidName] unless s can name an
// image: a file name of at most 255 bytes of UTF-8 without control characters
// that does not begin with ".#".
func ValidName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case s == "." || s == "..":
		return fmt.Errorf("%w %q: it means a directory", ErrInvalidName, s)
	case len(s) > maxName:
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrInvalidName, len(s), maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w %q: it is not UTF-8", ErrInvalidName, s)
	case strings.Contains(s, "/"):
		return fmt.Errorf("%w %q: it contains a slash", ErrInvalidName, s)
	case strings.HasPrefix(s, tempPrefix):
		return fmt.Errorf("%w %q: names that begin with %q are for files in the making", ErrInvalidName, s, tempPrefix)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%w %q: it contains a control character", ErrInvalidName, s)
	}
	return nil
}

// LastComponent returns the last component of the path of a URL or of a file
// path, without query and fragment. Nothing is percent-decoded.
func LastComponent(url string) (string, error) {
	s := url
	if scheme, rest, ok := strings.Cut(s, ":"); ok && validScheme(scheme) {
		if s = strings.TrimLeft(rest, "/"); scheme != "file" {
			host := strings.IndexAny(s, "/?#")
			if host < 0 {
				return "", fmt.Errorf("%w %q", ErrNoComponent, url)
			}
			s = s[host:]
		}
	}
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		s = s[:end]
	}
	s = strings.TrimRight(s, "/")
	s = s[strings.LastIndexByte(s, '/')+1:]
	if s == "" {
		return "", fmt.Errorf("%w %q", ErrNoComponent, url)
	}
	return s, nil
}

// validScheme follows RFC 3986: a letter, then letters, digits, "+", "-", ".".
func validScheme(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		other := r >= '0' && r <= '9' || strings.ContainsRune("+-.", r)
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}

// TarName turns the file name of an archive into the name of the image in it:
// one archive suffix is taken off. The result is checked with [ValidName].
func TarName(s string) (string, error) {
	for _, suffix := range []string{".tar", ".tar.xz", ".tar.gz", ".tar.bz2", ".tar.zst", ".tgz"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s = rest
			break
		}
	}
	return s, ValidName(s)
}

// RawName turns the file name of a disk image into the name of the image: every
// suffix of a compression or disk format is taken off. The result is checked
// with [ValidName].
func RawName(s string) (string, error) {
	suffixes := []string{".xz", ".gz", ".bz2", ".zst", ".sysext.raw", ".confext.raw", ".raw", ".qcow2", ".img", ".bin"}
	for again := true; again; {
		again = false
		for _, suffix := range suffixes {
			if rest, ok := strings.CutSuffix(s, suffix); ok {
				s, again = rest, true
				break
			}
		}
	}
	return s, ValidName(s)
}

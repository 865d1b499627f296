package pax

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Prefixes of records that carry one extended attribute each.
const (
	schilyXattr     = "SCHILY.xattr."
	libarchiveXattr = "LIBARCHIVE.xattr."
	selinuxRecord   = "RHT.security.selinux"
)

// sparseRecords are the GNU.sparse.* records of one entry.
type sparseRecords struct {
	major, minor string
	name         string
	size         int64 // -1: none
	hasMap       bool
	fragments    []Fragment // of the forms 0.0 and 0.1
	half         bool       // form 0.0: the last fragment waits for its length
}

// eachRecord walks over records of the form "LENGTH KEY=VALUE\n".
func eachRecord(buf []byte, fn func(key string, value []byte) error) error {
	for len(buf) > 0 {
		space := bytes.IndexByte(buf, ' ')
		if space <= 0 || space > 20 {
			return fmt.Errorf("%w: pax record without length", ErrFormat)
		}
		n, err := strconv.ParseUint(string(buf[:space]), 10, 32)
		if err != nil || n > uint64(len(buf)) || n < uint64(space)+2 || buf[n-1] != '\n' {
			return fmt.Errorf("%w: pax record of length %q", ErrFormat, buf[:space])
		}
		key, value, ok := bytes.Cut(buf[space+1:n-1], []byte("="))
		if !ok || len(key) == 0 || bytes.IndexByte(key, 0) >= 0 {
			return fmt.Errorf("%w: pax record without key", ErrFormat)
		}
		if err := fn(string(key), value); err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// record takes one pax record into the header. Unknown keys are of no interest.
func (r *Reader) record(h *Header, key string, value []byte) error {
	switch {
	case strings.HasPrefix(key, "GNU.sparse."):
		return r.sparse.record(key[len("GNU.sparse."):], string(value), r.limits.Fragments)
	case strings.HasPrefix(key, schilyXattr):
		return r.xattr(h, unescapeKey(key[len(schilyXattr):]), value)
	case strings.HasPrefix(key, libarchiveXattr):
		return r.encodedXattr(h, key[len(libarchiveXattr):], value)
	case key == selinuxRecord:
		return r.xattr(h, "security.selinux", value)
	case len(value) == 0:
		return nil // an empty value takes back a record; what the block says stays
	}
	var err error
	switch key {
	case "path":
		h.Name = string(value)
	case "linkpath":
		h.Linkname = string(value)
	case "uid":
		h.UID, err = strconv.ParseInt(string(value), 10, 64)
	case "gid":
		h.GID, err = strconv.ParseInt(string(value), 10, 64)
	case "size":
		h.Size, err = strconv.ParseInt(string(value), 10, 64)
	case "mtime":
		h.ModTime, err = parseTime(string(value))
	case "SCHILY.acl.access":
		h.AccessACL = string(value)
	case "SCHILY.acl.default":
		h.DefaultACL = string(value)
	case "SCHILY.fflags":
		h.Flags = string(value)
	}
	if err != nil {
		return fmt.Errorf("%w: pax record %s=%q", ErrFormat, key, value)
	}
	return nil
}

// xattr adds an attribute. The first of a name wins: writers repeat the same value in several forms.
func (r *Reader) xattr(h *Header, name string, value []byte) error {
	for _, x := range h.Xattrs {
		if x.Name == name {
			return nil
		}
	}
	if len(h.Xattrs) == r.limits.Xattrs {
		return fmt.Errorf("%w: more than %d extended attributes", ErrLimit, r.limits.Xattrs)
	}
	h.Xattrs = append(h.Xattrs, Xattr{Name: name, Value: value})
	return nil
}

// encodedXattr takes libarchive's form: name as in a URL, value in base64 without padding.
func (r *Reader) encodedXattr(h *Header, key string, value []byte) error {
	name, err := url.PathUnescape(key)
	if err != nil || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: pax record %s%s", ErrFormat, libarchiveXattr, key)
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(value), "="))
	if err != nil {
		return fmt.Errorf("%w: pax record %s%s: %w", ErrFormat, libarchiveXattr, key, err)
	}
	return r.xattr(h, name, data)
}

// GNU tar escapes the two bytes that would break a key.
var (
	keyEscapes   = strings.NewReplacer("%", "%25", "=", "%3D")
	keyUnescapes = strings.NewReplacer("%25", "%", "%3D", "=")
)

func unescapeKey(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	return keyUnescapes.Replace(s)
}

// parseTime reads seconds since the epoch with an optional fraction; digits below a nanosecond are dropped.
func parseTime(s string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	var nsec int64
	for i := range 9 {
		nsec *= 10
		if i < len(fraction) {
			nsec += int64(fraction[i] - '0')
		}
	}
	for _, c := range []byte(fraction) {
		if c < '0' || c > '9' {
			return time.Time{}, strconv.ErrSyntax
		}
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	return time.Unix(sec, nsec), nil
}

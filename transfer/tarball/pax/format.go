package pax

import (
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const nameField, prefixField = 100, 155

// fill makes the header block of an entry and returns the pax records for what does not fit into it.
func (b *block) fill(h *Header, stored int64) []byte {
	var rec recordList
	name := h.Name
	if h.Sparse != nil {
		rec.add("GNU.sparse.major", "1")
		rec.add("GNU.sparse.minor", "0")
		rec.add("GNU.sparse.name", h.Name)
		rec.add("GNU.sparse.realsize", strconv.FormatInt(h.Size, 10))
		name = path.Join(path.Dir(h.Name), "GNUSparseFile.0", path.Base(h.Name))
	}
	prefix, short, fits := splitName(name)
	if !fits && h.Sparse == nil {
		rec.add("path", h.Name)
	}
	b.fillPlain(short, h.Type, 0)
	copy(b.prefix(), prefix)
	if len(h.Linkname) > nameField || !isASCII(h.Linkname) {
		rec.add("linkpath", h.Linkname)
	}
	copy(b.linkname(), ascii(h.Linkname))
	rec.numeric(b.uid(), "uid", h.UID)
	rec.numeric(b.gid(), "gid", h.GID)
	rec.numeric(b.size(), "size", stored)
	if sec := h.ModTime.Unix(); h.ModTime.Nanosecond() == 0 && fitsOctal(b.mtime(), sec) {
		putOctal(b.mtime(), sec)
	} else {
		rec.add("mtime", formatTime(h.ModTime))
		putOctal(b.mtime(), max(0, min(sec, 1<<33-1)))
	}
	putOctal(b.mode(), int64(h.Mode&0o7777))
	putOctal(b.major(), h.Major)
	putOctal(b.minor(), h.Minor)
	rec.add("SCHILY.fflags", h.Flags)
	rec.add("SCHILY.acl.access", h.AccessACL)
	rec.add("SCHILY.acl.default", h.DefaultACL)
	for _, x := range h.Xattrs {
		rec.addAlways(schilyXattr+keyEscapes.Replace(x.Name), string(x.Value))
	}
	b.seal()
	return rec.bytes(h)
}

// fillPlain sets the fields that every header has, with the owner root and the time 0.
func (b *block) fillPlain(name string, t Type, size int64) {
	copy(b.name(), ascii(name))
	putOctal(b.mode(), 0o644)
	putOctal(b.uid(), 0)
	putOctal(b.gid(), 0)
	putOctal(b.size(), size)
	putOctal(b.mtime(), 0)
	*b.typeflag() = byte(t)
	copy(b.magic(), magicUSTAR+"00")
	putOctal(b.major(), 0)
	putOctal(b.minor(), 0)
	b.seal()
}

func (b *block) seal() {
	sum, _ := b.sum()
	copy(b.checksum(), strings.Repeat(" ", 8))
	putOctal(b.checksum()[:7], sum)
}

// putOctal fills a field but for its last byte, which stays NUL.
func putOctal(field []byte, x int64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = byte('0' + x&7)
		x >>= 3
	}
	field[len(field)-1] = 0
}

func fitsOctal(field []byte, x int64) bool {
	return x >= 0 && x>>(3*(len(field)-1)) == 0
}

// splitName cuts a name at a slash so that it fits into ustar's two fields. Where it does not fit, short is what
// readers that do not know pax get to see.
func splitName(name string) (prefix, short string, fits bool) {
	if !isASCII(name) {
		return "", name, false
	}
	if len(name) <= nameField {
		return "", name, true
	}
	for i := min(len(name)-2, prefixField); i > 0 && len(name)-i-1 <= nameField; i-- {
		if name[i] == '/' {
			return name[:i], name[i+1:], true
		}
	}
	return "", name, false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// ascii is what stands in a field of the block for a text whose true form is in a pax record.
func ascii(s string) string {
	if isASCII(s) {
		return s
	}
	out := []byte(s)
	for i := range out {
		if out[i] >= utf8.RuneSelf {
			out[i] = '?'
		}
	}
	return string(out)
}

func formatTime(t time.Time) string {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 {
		sign, sec, nsec = "-", -(sec + 1), 1e9-nsec
	}
	fraction := strconv.FormatInt(1e9+nsec, 10)[1:]
	return sign + strconv.FormatInt(sec, 10) + "." + strings.TrimRight(fraction, "0")
}

// recordList collects pax records.
type recordList struct{ keys, values []string }

func (l *recordList) add(key, value string) {
	if value != "" {
		l.addAlways(key, value)
	}
}

func (l *recordList) addAlways(key, value string) {
	l.keys = append(l.keys, key)
	l.values = append(l.values, value)
}

func (l *recordList) numeric(field []byte, key string, x int64) {
	if fitsOctal(field, x) {
		putOctal(field, x)
		return
	}
	putOctal(field, 0)
	l.add(key, strconv.FormatInt(x, 10))
}

// bytes formats the records, sorted by key. Texts that are not UTF-8 need to be announced, before all else.
func (l *recordList) bytes(h *Header) []byte {
	if len(l.keys) == 0 {
		return nil
	}
	sort.Sort(l)
	var out []byte
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname) {
		out = appendRecord(out, "hdrcharset", "BINARY")
	}
	for i, key := range l.keys {
		out = appendRecord(out, key, l.values[i])
	}
	return out
}

func (l *recordList) Len() int           { return len(l.keys) }
func (l *recordList) Less(i, j int) bool { return l.keys[i] < l.keys[j] }
func (l *recordList) Swap(i, j int) {
	l.keys[i], l.keys[j] = l.keys[j], l.keys[i]
	l.values[i], l.values[j] = l.values[j], l.values[i]
}

// appendRecord writes "LENGTH KEY=VALUE\n", where the length counts its own digits.
func appendRecord(out []byte, key, value string) []byte {
	rest := len(key) + len(value) + 3
	n := rest + len(strconv.Itoa(rest))
	if len(strconv.Itoa(n)) > len(strconv.Itoa(rest)) {
		n++
	}
	out = strconv.AppendInt(out, int64(n), 10)
	out = append(out, ' ')
	out = append(out, key...)
	out = append(out, '=')
	out = append(out, value...)
	return append(out, '\n')
}

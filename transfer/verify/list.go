package verify

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

const (
	// maxList is how many bytes a checksum list may have.
	maxList = 1 << 20
	// maxLine is how many bytes a line may have: digest, name, every byte of the
	// name escaped.
	maxLine = 2*4096 + 256
	// maxEntries is how many lines with a digest there may be.
	maxEntries = 16384
)

// List is a parsed checksum list. The zero List is empty.
type List struct {
	named map[string]entry
	bare  *entry
}

// entry is what the list says of one name.
type entry struct {
	digest   Digest
	conflict bool // different digests were given
}

func (e *entry) also(d Digest) { e.conflict = e.conflict || e.digest != d }

// ParseList reads a checksum list as image servers publish them, in any mixture:
//
//	HEX *NAME  HEX  NAME  HEX NAME      sha256sum, binary, text, and with one space
//	\HEX  NA\nME                        sha256sum, with escapes
//	SHA256 (NAME) = HEX                 BSD, and sha256sum --tag
//	HEX    HEX  -                       the digest of the only file there is
//
// Digits are taken in either case, lines end in LF, CRLF or the end of the list,
// and a name may begin with "./". All other lines are passed over, among them
// digests of other algorithms, comments and prose. Where the list is clearsigned,
// only what is within the signature is read; [Keyring.CheckClearsigned] checks
// that.
//
// Exceeding 1 MiB, 8 KiB in a line or 16,384 digests gives ErrMalformed.
func ParseList(text []byte) (List, error) {
	if len(text) > maxList {
		return List{}, fmt.Errorf("checksum list of %d bytes: %w: more than %d", len(text), ErrMalformed, maxList)
	}
	if isClearsigned(text) {
		block, _ := clearsign.Decode(text)
		if block == nil {
			return List{}, fmt.Errorf("clearsigned checksum list: %w", ErrMalformed)
		}
		text = block.Plaintext
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	l := List{named: map[string]entry{}}
	count := 0
	for line := range bytes.Lines(text) {
		if len(line) > maxLine {
			return List{}, fmt.Errorf("checksum list with a line of %d bytes: %w: more than %d", len(line), ErrMalformed, maxLine)
		}
		name, digest, ok := parseLine(strings.TrimRight(string(line), "\r\n"))
		if !ok {
			continue
		}
		if count++; count > maxEntries {
			return List{}, fmt.Errorf("checksum list: %w: more than %d digests", ErrMalformed, maxEntries)
		}
		l.add(name, digest)
	}
	return l, nil
}

func (l *List) add(name string, d Digest) {
	if name == "" {
		if l.bare == nil {
			l.bare = &entry{digest: d}
		}
		l.bare.also(d)
		return
	}
	e, known := l.named[name]
	if !known {
		e.digest = d
	}
	e.also(d)
	l.named[name] = e
}

// Find returns the digest of a file. A list that consists of a digest without a
// name, as NAME.sha256 may, has it for any name; see [List.Bare].
func (l List) Find(name string) (Digest, error) {
	e, ok := l.named[name]
	if !ok && l.Bare() {
		e, ok = *l.bare, true
	}
	switch {
	case !ok && len(l.named) == 0:
		return Digest{}, fmt.Errorf("%q: %w: it has no SHA-256 digest at all", name, ErrNotListed)
	case !ok:
		return Digest{}, fmt.Errorf("%q: %w", name, ErrNotListed)
	case e.conflict:
		return Digest{}, fmt.Errorf("%q: %w: the list has different digests for it", name, ErrMalformed)
	}
	return e.digest, nil
}

// Bare tells whether the list names no file: it speaks of the one file that it
// lies beside, and of no other.
func (l List) Bare() bool { return l.bare != nil && len(l.named) == 0 }

func isClearsigned(text []byte) bool {
	const begin = "-----BEGIN PGP SIGNED MESSAGE-----"
	return bytes.HasPrefix(text, []byte(begin)) || bytes.Contains(text, []byte("\n"+begin))
}

package images

import (
	"context"
	"fmt"
	"strings"

	"berth/images/foreign"
)

// mstack is a mount stack, a directory whose entries are layers and binds
// (systemd.mstack(7)). It is listed and removed; the rest is not for it.
type mstack struct{ directory }

var _ backend = mstack{}

func (mstack) facts(e entry, img *Image) error {
	img.ReadOnly = e.immutable() || !mstackWritable(e.path)
	img.Created = e.created()
	return nil
}

// mstackMaxEntries bounds how much of a stack is read for one fact about it.
const mstackMaxEntries = 4096

// mstackWritable reports whether anything in the stack can be written: a
// writable layer, root or bind, or the tmpfs that stands in where a stack has no
// layer. A stack that cannot be read counts as read-only.
func mstackWritable(path string) bool {
	names, err := entryNames(path)
	if err != nil {
		return false
	}
	layers := false
	for _, name := range names {
		kind, _, _ := strings.Cut(strings.TrimSuffix(name, suffixVersioned), "@")
		switch kind {
		case "rw", "root", "bind":
			return true
		case "layer":
			layers = true
		}
	}
	return !layers
}

func (mstack) clone(context.Context, *foreign.User, Image, string, CloneOptions) (*Pending, error) {
	return nil, fmt.Errorf("%w: a mount stack cannot be cloned", ErrNotSupported)
}

func (mstack) setReadOnly(string, bool) error {
	return fmt.Errorf("%w: a mount stack is as writable as its layers", ErrNotSupported)
}

func (mstack) suffix() string { return suffixMstack }

package images

import (
	"context"
	"os"

	"berth/images/foreign"
)

// backend is what differs from one type of image to the next.
type backend interface {
	// facts fills in whether the image is read-only, its times and its sizes.
	facts(e entry, img *Image) error
	// remove deletes the entry file of the directory parent, so that a crash
	// leaves either the image or something that no listing shows.
	remove(ctx context.Context, trees *foreign.User, parent *os.File, file string) error
	// clone makes a pending copy in the pool; of the options it is for Progress.
	clone(ctx context.Context, trees *foreign.User, src Image, pool string, options CloneOptions) (*Pending, error)
	// setReadOnly sets the image's own mark; path is resolved.
	setReadOnly(path string, readOnly bool) error
	// suffix is what the type appends to a name to make a file name.
	suffix() string
}

func backendOf(t Type) backend {
	switch t {
	case TypeSubvolume:
		return subvolume{}
	case TypeRaw:
		return raw{}
	case TypeBlock:
		return block{}
	case TypeMstack:
		return mstack{}
	}
	return directory{}
}

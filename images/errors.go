package images

import "errors"

// What callers test for.
var (
	// ErrNotFound: there is no image of that name, or it has gone meanwhile.
	ErrNotFound = errors.New("no such image")
	// ErrExists: an image or file of that name is there already.
	ErrExists = errors.New("image already exists")
	// ErrInvalidName: the text can never name an image.
	ErrInvalidName = errors.New("invalid image name")
	// ErrReadOnly: vendor, host and hidden images are not changed.
	ErrReadOnly = errors.New("image may not be changed")
	// ErrBusy: somebody else holds a lock on the image or on the name.
	ErrBusy = errors.New("image is in use")
	// ErrNotSupported: the operation makes no sense for this type of image.
	ErrNotSupported = errors.New("operation not supported for this image")
	// ErrNoQuota: nothing can be limited where the file system does not count.
	ErrNoQuota = errors.New("file system does not count what images take up")
	// ErrAuxiliary: the image itself was changed as asked, but a settings or
	// auxiliary file beside it could not follow.
	ErrAuxiliary = errors.New("auxiliary file left behind")
	// ErrNoComponent: a URL or path has no last component to take a name from.
	ErrNoComponent = errors.New("no file name in URL")
)

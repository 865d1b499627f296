package generator

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"berth/cmd/internal/cli"
	"berth/images"
	"berth/importd"
)

// download is an image that is to be pulled at boot.
type download struct {
	remote, local string
	class         images.Class
	form          string // "raw" or "tar"
	readOnly      bool
	verify        importd.Verify
	root          string
	// block asks for a loop device of the image, too.
	block bool
}

// errNoOrigin means that a download is for hosts that were booted over the network
// only, which this one was not.
var errNoOrigin = errors.New("the host was not booted from a URL")

// parse reads OPTIONS:LOCAL:REMOTE. warn is told of options that
// are passed over.
func parse(expression string, h host, warn func(string, ...any)) (d download, err error) {
	parts := strings.SplitN(expression, ":", 3)
	if len(parts) < 3 || parts[2] == "" {
		return d, errors.New("it must be OPTIONS:LOCAL:REMOTE")
	}
	d = download{local: parts[1], remote: parts[2], verify: importd.VerifySignature}
	o := options{download: &d, runtime: h.inInitrd()}
	for option := range strings.SplitSeq(parts[0], ",") {
		if err := o.set(option); err != nil {
			warn("Passing over an option of %q: %v", expression, err)
		}
	}
	if o.origin {
		if d.remote, err = besideOrigin(h, d.remote); err != nil {
			return d, err
		}
	}
	if err := d.check(); err != nil {
		return d, err
	}
	d.root = images.SystemLocations("").Pool[d.class]
	if o.runtime {
		d.root = path.Join("/run", path.Base(d.root))
	}
	return d, nil
}

// options are those of an expression while it is read.
type options struct {
	*download
	origin, runtime bool
}

func (o *options) set(option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch {
	case option == "ro", option == "rw":
		o.readOnly = option == "ro"
	case option == "blockdev":
		o.block = true
	case option == "bootorigin":
		o.origin = true
	case key == "runtime":
		on, ok := cli.ParseBool(value)
		if !ok {
			return fmt.Errorf("%q must be yes or no", option)
		}
		o.runtime = on
	case key == "verify" && value != "":
		level, err := importd.ParseVerify(value)
		if err != nil {
			return err
		}
		o.verify = level
	case slices.Contains(images.Classes(), images.Class(option)):
		o.class = images.Class(option)
	case option == "raw", option == "tar", option == "oci":
		o.form = option
	default:
		return fmt.Errorf("%q is not known", option)
	}
	return nil
}

// check refuses what can never be pulled and finds the name of the image.
func (d *download) check() (err error) {
	switch {
	case d.form == "oci":
		return errors.New("images of container registries cannot be pulled at boot")
	case !isURL(d.remote):
		return fmt.Errorf("%q is no http, https or file URL", d.remote)
	case d.form == "":
		return errors.New("it must say raw or tar")
	case d.class == "":
		return errors.New("it must say machine, portable, sysext or confext")
	case d.block && d.form != "raw":
		return errors.New("only a raw image can be a block device")
	}
	if d.local != "" {
		return images.ValidName(d.local)
	}
	last, err := images.LastComponent(d.remote)
	if err != nil {
		return fmt.Errorf("take the name of the image from the URL: %w", err)
	}
	if d.form == "tar" {
		d.local, err = images.TarName(last)
	} else {
		d.local, err = images.RawName(last)
	}
	return err
}

// isURL takes what the original takes but for what would not stay on its line of a
// unit file.
func isURL(text string) bool {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' || c == '\\' }) {
		return false
	}
	for _, prefix := range []string{"http://", "https://", "file:/"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok && rest != "" {
			return true
		}
	}
	return false
}

// besideOrigin is the URL of a file beside the one that the host was booted from.
func besideOrigin(h host, file string) (string, error) {
	origin, err := h.origin()
	if errors.Is(err, fs.ErrNotExist) {
		return "", errNoOrigin
	} else if err != nil {
		return "", fmt.Errorf("find what the host was booted from: %w", err)
	}
	if !isURL(origin) {
		return "", fmt.Errorf("the host was booted from %q, which is no URL", origin)
	}
	origin, _, _ = strings.Cut(origin, "#")
	origin, _, _ = strings.Cut(origin, "?")
	origin = strings.TrimRight(origin, "/")
	if last, err := images.LastComponent(origin); err == nil {
		origin = strings.TrimRight(strings.TrimSuffix(origin, last), "/")
	}
	return origin + "/" + file, nil
}

// path is where the image will be.
func (d *download) path() string {
	if d.form == "raw" {
		return filepath.Join(d.root, d.local+".raw")
	}
	return filepath.Join(d.root, d.local)
}

package helper

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"berth/cmd/internal/cli"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"
	"berth/transfer/verify"
)

// option is one of the command line. One without help is not shown.
type option struct {
	name, letter, argument, help string
	set                          func(string) error
}

// settings are what the options and the environment say.
type settings struct {
	help, version, introspect bool
	scope                     scope
	request                   importd.Request
	direct                    bool
	offset                    *int64
	zeroFill                  bool
	noSync, noSubvolumes      bool
	keepDownload              *bool
	extras                    map[importd.Extra]bool // those that were asked for or refused
}

// scope says whose images are meant.
type scope int

const (
	anyScope scope = iota
	systemScope
	userScope
)

// programOptions are those of the program, with the ones that all have.
func (h *helper) programOptions() []option {
	list := []option{
		{"help", "h", "", "Show this help", yes(&h.help)},
		{"version", "", "", "Show the version", yes(&h.version)},
	}
	all := h.allOptions()
	for _, name := range h.program.options {
		list = append(list, all[slices.IndexFunc(all, func(o option) bool { return o.name == name })])
	}
	return append(list,
		option{"system", "", "", "Work on the images of the system", func(string) error { h.scope = systemScope; return nil }},
		option{"user", "", "", "Work on the images of this user", func(string) error { h.scope = userScope; return nil }},
		option{"introspect-cli", "", "", "", yes(&h.introspect)},
	)
}

func (h *helper) allOptions() []option {
	r := &h.request
	return []option{
		{"force", "", "", "Replace an image of the same name", yes(&r.Force)},
		{"image-root", "", "PATH", "Directory of the images", h.setImageRoot},
		{"verify", "", "MODE", "What a download must prove: no, checksum, signature, or to have this SHA-256 digest", h.setVerify},
		{"settings", "", "BOOL", "Fetch the settings file beside the image", h.extra(importd.ExtraSettings)},
		{"roothash", "", "BOOL", "Fetch the root hash beside the image", h.setRootHash},
		{"roothash-signature", "", "BOOL", "Fetch the signature of the root hash", h.extra(importd.ExtraRootHashSignature)},
		{"verity", "", "BOOL", "Fetch the verity data beside the image", h.extra(importd.ExtraVerity)},
		{"read-only", "", "", "Make the image read-only", yes(&r.ReadOnly)},
		{"direct", "", "", "NAME is a path to write to and nothing else is made", yes(&h.direct)},
		{"btrfs-subvol", "", "BOOL", "Make a subvolume of a tree on btrfs", not(&h.noSubvolumes)},
		{"btrfs-quota", "", "BOOL", "Has no effect: quota is left as it is", boolean(func(bool) {})},
		{"convert-qcow2", "", "BOOL", "Convert a qcow2 image to a raw one", not(&r.KeepQcow2)},
		{"sync", "", "BOOL", "Wait until all is on the disk", not(&h.noSync)},
		{"zero-fill", "", "BOOL", "Fill the range of --offset= and --size-max= up with zeros", boolean(func(on bool) { h.zeroFill = on })},
		{"offset", "", "BYTES", "Where in the target the image begins", h.setOffset},
		{"size-max", "", "BYTES", "The most that is written", h.setSizeMax},
		{"class", "", "CLASS", "Class of the image: machine, portable, sysext or confext", h.setClass},
		{"keep-download", "", "BOOL", "Keep the download as it came, too", boolean(func(on bool) { h.keepDownload = &on })},
		{"format", "", "FORMAT", "Compression: uncompressed, xz, gzip, bzip2 or zstd", h.setFormat},
	}
}

func yes(target *bool) func(string) error { return func(string) error { *target = true; return nil } }

func not(target *bool) func(string) error { return boolean(func(on bool) { *target = !on }) }

func boolean(set func(bool)) func(string) error {
	return func(text string) error {
		on, ok := cli.ParseBool(text)
		if !ok {
			return errors.New("it must be yes or no")
		}
		set(on)
		return nil
	}
}

// extra asks for a neighbour of the image or refuses it.
func (h *helper) extra(which importd.Extra) func(string) error {
	return boolean(func(on bool) { h.extras[which] = on })
}

// setRootHash also refuses the signature of what is refused.
func (h *helper) setRootHash(text string) error {
	return boolean(func(on bool) {
		h.extras[importd.ExtraRootHash] = on
		if !on {
			h.extras[importd.ExtraRootHashSignature] = false
		}
	})(text)
}

func (h *helper) setImageRoot(text string) error {
	path, err := filepath.Abs(text)
	if text == "" || err != nil {
		return errors.New("it must be a path")
	}
	h.request.ImageRoot = path
	return nil
}

// setVerify takes a level or a digest. With a digest nothing but the image is
// fetched, since nothing could prove what lies beside it.
func (h *helper) setVerify(text string) error {
	if _, err := verify.ParseDigest(text); err == nil {
		h.request.Digest, h.request.Verify = text, importd.VerifyChecksum
		clear(h.extras)
		return nil
	}
	if text == "" {
		return errors.New("it must be no, checksum, signature or a SHA-256 digest")
	}
	level, err := importd.ParseVerify(text)
	if err != nil {
		return errors.New("it must be no, checksum, signature or a SHA-256 digest")
	}
	h.request.Digest, h.request.Verify = "", level
	return nil
}

func (h *helper) setOffset(text string) error {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return errors.New("it must be a number of bytes")
	}
	offset := int64(n)
	h.offset = &offset
	return nil
}

func (h *helper) setSizeMax(text string) error {
	n, err := cli.ParseBytes(text)
	if err != nil {
		return err
	}
	if n == 0 || n > math.MaxInt64 {
		return fmt.Errorf("%s is out of range", text)
	}
	h.request.SizeMax = int64(n)
	return nil
}

func (h *helper) setClass(text string) (err error) {
	h.request.Class, err = images.ParseClass(text)
	return err
}

func (h *helper) setFormat(text string) (err error) {
	h.request.Format, err = compress.ParseFormat(text)
	return err
}

package importd

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"berth/images"
	"berth/transfer/compress"
	"berth/transfer/verify"

	"golang.org/x/sys/unix"
)

// Kind is what a transfer does, by the name that the D-Bus interface gives it.
type Kind string

// The kinds of transfers.
const (
	ImportTar Kind = "import-tar"
	ImportRaw Kind = "import-raw"
	ImportFS  Kind = "import-fs"
	ExportTar Kind = "export-tar"
	ExportRaw Kind = "export-raw"
	PullTar   Kind = "pull-tar"
	PullRaw   Kind = "pull-raw"
)

// Pull says whether the bytes come from a URL.
func (k Kind) Pull() bool { return k == PullTar || k == PullRaw }

// Export says whether an image is read rather than made.
func (k Kind) Export() bool { return k == ExportTar || k == ExportRaw }

// Tree says whether the image is a directory tree rather than a disk.
func (k Kind) Tree() bool { return k != PullRaw && k != ImportRaw && k != ExportRaw }

// Verify is how far a download must prove itself before it becomes an image.
type Verify string

// The levels of verification, weakest first.
const (
	VerifyNo        Verify = "no"
	VerifyChecksum  Verify = "checksum"
	VerifySignature Verify = "signature"
)

// ParseVerify reads a level; the empty string means [VerifySignature].
func ParseVerify(s string) (Verify, error) {
	switch v := Verify(s); v {
	case "":
		return VerifySignature, nil
	case VerifyNo, VerifyChecksum, VerifySignature:
		return v, nil
	}
	return "", &InvalidError{"verify", fmt.Sprintf("%q is none of no, checksum, signature", s)}
}

// NoLocal as a pull's local name asks for the pristine copy only.
const NoLocal = "-"

// Request is one transfer as a client asks for it.
type Request struct {
	Kind  Kind         `json:"kind"`
	Class images.Class `json:"class"`
	// Local is the name of the image. For a pull the empty string means to take
	// the name from the URL, and [NoLocal] to keep the pristine copy only.
	Local string `json:"local"`
	// Remote is the URL of a pull, empty otherwise.
	Remote string `json:"remote,omitempty"`
	Verify Verify `json:"verify,omitempty"`
	// Force replaces an image of the same name.
	Force    bool `json:"force,omitempty"`
	ReadOnly bool `json:"readOnly,omitempty"`
	// KeepDownload keeps the image as it came, hidden, beside the local one, so
	// that the next pull of an unchanged URL costs one question to the server.
	KeepDownload bool `json:"keepDownload,omitempty"`
	// Format is the compression of an export; empty means none.
	Format compress.Format `json:"format,omitempty"`
	// ImageRoot is the directory to write to; empty means that of the class.
	ImageRoot string `json:"imageRoot,omitempty"`
	// Digest is the SHA-256 that the download of a pull must have, as 64 hex
	// digits. It proves more than any checksum list, so none is looked for.
	Digest string `json:"digest,omitempty"`
	// Extras are the files to look for beside the image of a pull; nil means what
	// is usual for its class and form.
	Extras []Extra `json:"extras"`
	// SizeMax bounds the unpacked image, in bytes; 0 means the manager's limit.
	SizeMax int64 `json:"sizeMax,omitempty"`
	// KeepQcow2 leaves a qcow2 image as it is.
	KeepQcow2 bool `json:"keepQcow2,omitempty"`
	// Source is the path of what to export, in place of the name of an image.
	Source string `json:"source,omitempty"`
	// Direct leads the transfer past the image store; nil means into it. Only [Do]
	// takes it.
	Direct *Direct `json:"direct,omitempty"`
	// File is what to import or where to export to. A started transfer owns it.
	File *os.File `json:"-"`
}

// Direct is a place of the caller's own that a transfer fills: nothing is kept,
// renamed or converted, and no file beside the image is looked for.
type Direct struct {
	// Path is the absolute path of a directory for a tree, of a file or block
	// device for a disk. Empty means Output.
	Path string `json:"path,omitempty"`
	// Offset is where in the target a disk begins, in bytes. The target must exist
	// then, and what lies around the disk stays.
	Offset *int64 `json:"offset,omitempty"`
	// ZeroFill overwrites what [Request.SizeMax] allows behind the end of the disk.
	ZeroFill bool `json:"zeroFill,omitempty"`
	// Output takes the disk if there is no path.
	Output *os.File `json:"-"`
}

// settle checks a request and fills in what it leaves to the defaults.
func (r *Request) settle(c Config) error {
	class, err := images.ParseClass(string(r.Class))
	if err != nil {
		return &InvalidError{"class", err.Error()}
	}
	r.Class = class
	if r.Format == "" {
		r.Format = compress.None
	}
	if !r.Kind.Pull() && r.File == nil {
		return &InvalidError{"fileDescriptor", "none was passed"}
	}
	if r.Kind.Pull() {
		if err := r.settleRemote(); err != nil {
			return err
		}
	}
	if r.Direct != nil {
		return r.settleDirect()
	}
	if err := r.settleLocal(); err != nil {
		return err
	}
	return r.settleRoot(c.Locations)
}

// settleRoot finds the directory that is written to. Exports write to none.
func (r *Request) settleRoot(locations images.Locations) error {
	if r.Kind.Export() {
		return nil
	}
	if r.ImageRoot == "" {
		r.ImageRoot = locations.Pool[r.Class]
	}
	if r.ImageRoot == "" {
		return &InvalidError{"class", fmt.Sprintf("there is no place for images of class %s here", r.Class)}
	}
	if !filepath.IsAbs(r.ImageRoot) || filepath.Clean(r.ImageRoot) != r.ImageRoot {
		return &InvalidError{"imageRoot", fmt.Sprintf("%q is not an absolute, normalized path", r.ImageRoot)}
	}
	return nil
}

// preparePool makes the directory of machine images, which a host without machines
// may lack. Where that cannot be, nothing has to be started to find out.
func (r *Request) preparePool(locations images.Locations) error {
	if r.Class != images.ClassMachine || r.Kind.Export() || r.ImageRoot != locations.Pool[r.Class] {
		return nil
	}
	// As on any host with systemd: what is in the images is no matter of users.
	err := os.MkdirAll(r.ImageRoot, 0o700)
	if errors.Is(err, os.ErrExist) {
		_, err = os.Stat(r.ImageRoot) // a symlink that leads nowhere
	}
	if err != nil {
		return fmt.Errorf("set up the pool of machine images: %w", err)
	}
	return nil
}

func (r *Request) settleRemote() error {
	level, err := ParseVerify(string(r.Verify))
	if err != nil {
		return err
	}
	r.Verify = level
	if r.Digest != "" {
		if _, err := verify.ParseDigest(r.Digest); err != nil {
			return &InvalidError{"digest", err.Error()}
		}
		r.Extras = []Extra{}
	}
	if r.Extras == nil {
		r.Extras = UsualExtras(r.Kind, r.Class)
	}
	if err := checkURL(r.Remote); err != nil {
		return &InvalidError{"remote", err.Error()}
	}
	return nil
}

// settleDirect checks where a direct transfer goes.
func (r *Request) settleDirect() error {
	d := r.Direct
	r.Local, r.Extras, r.KeepQcow2 = NoLocal, []Extra{}, true
	switch {
	case r.Kind.Export():
		return &InvalidError{"direct", "exports always go to a file of the caller's"}
	case d.Path == "" && (d.Output == nil || r.Kind.Tree()):
		return &InvalidError{"direct", "no path to write to is given"}
	case d.Path != "" && (!filepath.IsAbs(d.Path) || filepath.Clean(d.Path) != d.Path):
		return &InvalidError{"direct", fmt.Sprintf("%q is not an absolute, normalized path", d.Path)}
	case d.Offset != nil && (r.Kind.Tree() || d.Path == "" || *d.Offset < 0):
		return &InvalidError{"offset", "only a file or block device has one"}
	case d.Offset != nil && r.SizeMax > math.MaxInt64-*d.Offset:
		return &InvalidError{"offset", "together with the largest size it is too large"}
	case d.ZeroFill && (d.Offset == nil || r.SizeMax == 0):
		return &InvalidError{"zeroFill", "it needs both an offset and a largest size"}
	}
	return nil
}

// checkURL takes what the original takes: http, https and file URLs of ASCII.
func checkURL(raw string) error {
	if strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("URL %q has characters that are not printable ASCII", raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("URL cannot be read: %w", err)
	}
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	case u.Scheme == "file" && strings.HasPrefix(u.Path, "/"):
		return nil
	}
	return fmt.Errorf("%q is no http, https or file URL", raw)
}

func (r *Request) settleLocal() error {
	if r.Source != "" {
		return nil
	}
	if r.Kind.Pull() && r.Local == "" {
		name, err := nameFromURL(r.Kind, r.Remote)
		if err != nil {
			return &InvalidError{"local", fmt.Sprintf("no image name can be taken from %q: %v", r.Remote, err)}
		}
		r.Local = name
	}
	if r.Kind.Pull() && r.Local == NoLocal {
		return nil
	}
	if err := images.ValidName(r.Local); err != nil {
		return &InvalidError{"local", err.Error()}
	}
	return nil
}

// checkFile checks the descriptor that somebody else opened for an import or
// export. What would change the meaning of plain reads and writes
// is refused. A descriptor that does not block is waited for.
func (r *Request) checkFile() error {
	if r.Kind.Pull() || r.File == nil {
		return nil
	}
	fd := int(r.File.Fd())
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("read flags of the file descriptor: %w", err)
	}
	const largeFile = 0o100000 // set by the kernel; package unix has 0 for it on 64-bit
	const allowed = unix.O_ACCMODE | unix.O_NOFOLLOW | largeFile | unix.O_DIRECTORY | unix.O_NONBLOCK
	if flags&^allowed != 0 || flags&unix.O_PATH != 0 {
		return fmt.Errorf("file descriptor was opened with unsupported flags %#x: %w", flags&^allowed, unix.EREMOTEIO)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at the file descriptor: %w", err)
	}
	mode := st.Mode & unix.S_IFMT
	switch {
	case r.Kind == ImportFS && mode != unix.S_IFDIR:
		return fmt.Errorf("import a file system tree: %w", unix.ENOTDIR)
	case r.Kind != ImportFS && mode == unix.S_IFDIR:
		return &InvalidError{"fileDescriptor", "it is a directory, which import-fs takes"}
	case r.Kind != ImportFS && mode != unix.S_IFREG && mode != unix.S_IFIFO && !isStream(fd):
		return &InvalidError{"fileDescriptor", "it is neither a regular file nor a pipe, nor a stream socket"}
	}
	return nil
}

// isStream says whether a descriptor is a socket that has an order and an end, as a
// pipe has.
func isStream(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

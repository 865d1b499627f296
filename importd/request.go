package importd

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"berth/images"
	"berth/transfer/compress"

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
	// File is what to import or where to export to. A started transfer owns it.
	File *os.File `json:"-"`
}

// settle checks a request and fills in what it leaves to the defaults.
func (r *Request) settle(locations images.Locations) error {
	class, err := images.ParseClass(string(r.Class))
	if err != nil {
		return &InvalidError{"class", err.Error()}
	}
	r.Class = class
	if r.Format == "" {
		r.Format = compress.None
	}
	if err := r.settleFile(); err != nil {
		return err
	}
	if r.Kind.Pull() {
		if err := r.settleRemote(); err != nil {
			return err
		}
	}
	if err := r.settleLocal(); err != nil {
		return err
	}
	if r.ImageRoot == "" {
		r.ImageRoot = locations.Pool[class]
	}
	if !filepath.IsAbs(r.ImageRoot) || filepath.Clean(r.ImageRoot) != r.ImageRoot {
		return &InvalidError{"imageRoot", fmt.Sprintf("%q is not an absolute, normalized path", r.ImageRoot)}
	}
	return nil
}

func (r *Request) settleRemote() error {
	verify, err := ParseVerify(string(r.Verify))
	if err != nil {
		return err
	}
	r.Verify = verify
	if err := checkURL(r.Remote); err != nil {
		return &InvalidError{"remote", err.Error()}
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

// settleFile checks the descriptor of an import or export (importd.md 2.2).
// What would change the meaning of plain reads and writes is refused.
func (r *Request) settleFile() error {
	if r.Kind.Pull() {
		return nil
	}
	if r.File == nil {
		return &InvalidError{"fileDescriptor", "none was passed"}
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
	case r.Kind != ImportFS && mode != unix.S_IFREG && mode != unix.S_IFIFO:
		return &InvalidError{"fileDescriptor", "it is neither a regular file nor a pipe"}
	}
	return nil
}

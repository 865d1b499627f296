package importapi

import (
	_ "embed" // the interface descriptions

	"berth/cmd/internal/wire"
	"berth/images"
	"berth/importd"
)

//go:embed io.systemd.Import.varlink
var systemdInterface string

//go:embed io.berth.Import.varlink
var berthInterface string

// Socket is where the system's importd listens.
const Socket = "/run/systemd/io.systemd.Import"

const (
	systemdName = "io.systemd.Import"
	berthName   = "io.berth.Import"
)

// Form is the form of an image on its way in or out.
type Form string

// The forms. [FormFS] is a directory tree and can only be imported, [FormOCI] is in
// a container registry and can only be pulled.
const (
	FormRaw Form = "raw"
	FormTar Form = "tar"
	FormFS  Form = "fs"
	FormOCI Form = "oci"
)

// PullParameters are those of Pull in both interfaces.
type PullParameters struct {
	Remote       string         `json:"remote"`
	Local        string         `json:"local,omitempty"`
	Type         Form           `json:"type"`
	Class        images.Class   `json:"class"`
	Verify       importd.Verify `json:"verify,omitempty"`
	Force        bool           `json:"force,omitempty"`
	ReadOnly     bool           `json:"readOnly,omitempty"`
	KeepDownload bool           `json:"keepDownload,omitempty"`
	ImageRoot    string         `json:"imageRoot,omitempty"`
	Interactive  bool           `json:"allowInteractiveAuthentication,omitempty"`
}

// OCIParameters are those of PullOci, for which D-Bus has a call of its own.
type OCIParameters struct {
	Reference       string
	Local           string
	Class           images.Class
	Force, ReadOnly bool
}

// ImportParameters are those of io.berth.Import.Import.
type ImportParameters struct {
	FileDescriptor int          `json:"fileDescriptor"`
	Local          string       `json:"local"`
	Type           Form         `json:"type"`
	Class          images.Class `json:"class"`
	Force          bool         `json:"force,omitempty"`
	ReadOnly       bool         `json:"readOnly,omitempty"`
	ImageRoot      string       `json:"imageRoot,omitempty"`
	Interactive    bool         `json:"allowInteractiveAuthentication,omitempty"`
}

// ExportParameters are those of io.berth.Import.Export.
type ExportParameters struct {
	FileDescriptor int          `json:"fileDescriptor"`
	Local          string       `json:"local"`
	Type           Form         `json:"type"`
	Class          images.Class `json:"class"`
	Format         string       `json:"format,omitempty"`
	Interactive    bool         `json:"allowInteractiveAuthentication,omitempty"`
}

// Update is one reply of a transfer under way; one field is set, or none in the
// last.
type Update struct {
	ID       uint32           `json:"id,omitempty"`
	Progress *float64         `json:"progress,omitempty"`
	Log      *importd.LogLine `json:"log,omitempty"`
}

// Transfer is one reply of ListTransfers.
type Transfer struct {
	ID     uint32       `json:"id"`
	Type   string       `json:"type"`
	Remote string       `json:"remote"`
	Local  string       `json:"local"`
	Class  images.Class `json:"class"`
	// Percent is between 0 and 1, or negative while unknown.
	Percent float64 `json:"percent"`
}

// Image is one image as io.berth.Import lists it.
type Image struct {
	Class          images.Class `json:"class"`
	Name           string       `json:"name"`
	Type           images.Type  `json:"type"`
	Path           string       `json:"path"`
	ReadOnly       bool         `json:"readOnly"`
	Created        *int64       `json:"created,omitempty"`
	Modified       *int64       `json:"modified,omitempty"`
	Usage          *uint64      `json:"usage,omitempty"`
	UsageExclusive *uint64      `json:"usageExclusive,omitempty"`
	Limit          *uint64      `json:"limit,omitempty"`
	LimitExclusive *uint64      `json:"limitExclusive,omitempty"`
}

func imageOnWire(i images.Image) Image {
	return Image{
		Class: i.Class, Name: i.Name, Type: i.Type, Path: i.Path, ReadOnly: i.ReadOnly,
		Created: wire.Microseconds(i.Created), Modified: wire.Microseconds(i.Modified),
		Usage: wire.Size(i.Usage), UsageExclusive: wire.Size(i.UsageExclusive),
		Limit: wire.Size(i.Limit), LimitExclusive: wire.Size(i.LimitExclusive),
	}
}

// failure is the content of io.berth.Import.TransferFailed.
type failure struct {
	Reason string `json:"reason"`
	Errno  int    `json:"errno"`
}

// refusal is the content of io.berth.Import.InvalidRequest.
type refusal struct {
	Parameter string `json:"parameter"`
	Reason    string `json:"reason"`
}

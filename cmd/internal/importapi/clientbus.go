package importapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"

	"github.com/godbus/dbus/v5"
)

// BusClient talks to an importd over D-Bus: ours, or that of systemd from 252 on.
// It is for one goroutine.
type BusClient struct {
	// Interactive lets importd have somebody asked for a password.
	Interactive bool

	conn  *dbus.Conn
	close func() error
}

// DialBus connects to the bus that the importd of a target is on.
func DialBus(ctx context.Context, t bus.Target) (*BusClient, error) {
	conn, closeConn, err := bus.Dial(ctx, t)
	if err != nil {
		return nil, err
	}
	return &BusClient{Interactive: true, conn: conn, close: closeConn}, nil
}

// Close ends the connection. Transfers go on.
func (c *BusClient) Close() error { return c.close() }

// Pull starts a pull and yields its updates until it is over. Systemd's importd
// knows no image root here.
func (c *BusClient) Pull(ctx context.Context, p PullParameters) iter.Seq2[Update, error] {
	method := map[Form]string{FormRaw: "PullRaw", FormTar: "PullTar"}[p.Type]
	s := starting{kind: "pull-" + string(p.Type), remote: p.Remote}
	flags := flagIf(p.Force, flagForce) | flagIf(p.ReadOnly, flagReadOnly) | flagIf(p.KeepDownload, flagKeepDownload)
	if p.Class == images.ClassMachine && flags&^flagForce == 0 {
		return c.follow(ctx, s.by(method, p.Remote, p.Local, string(p.Verify), p.Force))
	}
	return c.follow(ctx, s.by(method+"Ex", p.Remote, p.Local, string(p.Class), string(p.Verify), flags))
}

// PullOCI starts a pull from a container registry.
func (c *BusClient) PullOCI(ctx context.Context, p OCIParameters) iter.Seq2[Update, error] {
	flags := flagIf(p.Force, flagForce) | flagIf(p.ReadOnly, flagReadOnly)
	s := starting{kind: "pull-oci", remote: p.Reference}
	return c.follow(ctx, s.by("PullOci", p.Reference, p.Local, string(p.Class), flags))
}

// Import starts an import of a file, pipe or directory.
func (c *BusClient) Import(ctx context.Context, p ImportParameters, file *os.File) iter.Seq2[Update, error] {
	method := map[Form]string{FormRaw: "ImportRaw", FormTar: "ImportTar", FormFS: "ImportFileSystem"}[p.Type]
	if p.Class == images.ClassMachine {
		return c.follow(ctx, starting{}.by(method, dbus.UnixFD(file.Fd()), p.Local, p.Force, p.ReadOnly))
	}
	flags := flagIf(p.Force, flagForce) | flagIf(p.ReadOnly, flagReadOnly)
	return c.follow(ctx, starting{}.by(method+"Ex", dbus.UnixFD(file.Fd()), p.Local, string(p.Class), flags))
}

// Export starts an export to a file or pipe.
func (c *BusClient) Export(ctx context.Context, p ExportParameters, file *os.File) iter.Seq2[Update, error] {
	method := map[Form]string{FormRaw: "ExportRaw", FormTar: "ExportTar"}[p.Type]
	format := p.Format
	if format == "" {
		format = string(compress.None)
	}
	if p.Class == images.ClassMachine {
		return c.follow(ctx, starting{}.by(method, p.Local, dbus.UnixFD(file.Fd()), format))
	}
	return c.follow(ctx, starting{}.by(method+"Ex", p.Local, string(p.Class), dbus.UnixFD(file.Fd()), format, uint64(0)))
}

// Cancel asks a transfer to end.
func (c *BusClient) Cancel(ctx context.Context, id uint32) error {
	_, err := c.call(ctx, "CancelTransfer", id)
	if busErrorName(err) == errorNoSuchTransfer {
		return fmt.Errorf("transfer %d: %w", id, importd.ErrNoSuchTransfer)
	}
	return err
}

// ListTransfers returns the transfers of a class, or of all if it is empty.
func (c *BusClient) ListTransfers(ctx context.Context, class images.Class) ([]Transfer, error) {
	reply, err := c.call(ctx, "ListTransfersEx", string(class), uint64(0))
	if busErrorName(err) == bus.ErrorUnknownMethod {
		return c.oldTransfers(ctx, class)
	}
	var found []busTransferEx
	if err = errors.Join(err, stored(reply, &found)); err != nil {
		return nil, err
	}
	list := make([]Transfer, len(found))
	for i, t := range found {
		list[i] = Transfer{ID: t.ID, Type: t.Type, Remote: t.Remote, Local: t.Local, Class: images.Class(t.Class), Percent: t.Progress}
	}
	return list, nil
}

// oldTransfers is for an importd that knows machines only.
func (c *BusClient) oldTransfers(ctx context.Context, class images.Class) ([]Transfer, error) {
	if class != "" && class != images.ClassMachine {
		return nil, nil
	}
	reply, err := c.call(ctx, "ListTransfers")
	var found []busTransfer
	if err = errors.Join(err, stored(reply, &found)); err != nil {
		return nil, err
	}
	list := make([]Transfer, len(found))
	for i, t := range found {
		list[i] = Transfer{ID: t.ID, Type: t.Type, Remote: t.Remote, Local: t.Local, Class: images.ClassMachine, Percent: t.Progress}
	}
	return list, nil
}

// ListImages returns the images of a class, or of all if it is empty.
func (c *BusClient) ListImages(ctx context.Context, class images.Class) ([]Image, error) {
	reply, err := c.call(ctx, "ListImages", string(class), uint64(0))
	var found []busImage
	if err = errors.Join(err, stored(reply, &found)); err != nil {
		return nil, err
	}
	list := make([]Image, len(found))
	for i, f := range found {
		list[i] = Image{
			Class: images.Class(f.Class), Name: f.Name, Type: images.Type(f.Type), Path: f.Path, ReadOnly: f.ReadOnly,
			Created: knownTime(f.Created), Modified: knownTime(f.Modified),
			Usage: knownSize(f.Usage), UsageExclusive: knownSize(f.UsageExclusive),
			Limit: knownSize(f.Limit), LimitExclusive: knownSize(f.LimitExclusive),
		}
	}
	return list, nil
}

func knownTime(microseconds uint64) *int64 {
	if microseconds == 0 || microseconds > 1<<63-1 {
		return nil
	}
	t := int64(microseconds)
	return &t
}

func knownSize(bytes uint64) *uint64 {
	if bytes == images.Unknown {
		return nil
	}
	return &bytes
}

package importapi

import (
	"context"
	"time"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

// busTransfer is an entry of ListTransfers; the fields are in the order of the
// wire.
type busTransfer struct {
	ID                  uint32
	Type, Remote, Local string
	Progress            float64
	Path                dbus.ObjectPath
}

// busTransferEx is an entry of ListTransfersEx.
type busTransferEx struct {
	ID                         uint32
	Type, Remote, Local, Class string
	Progress                   float64
	Path                       dbus.ObjectPath
}

// busImage is an entry of ListImages. Times are microseconds since the epoch,
// 0 if unknown; sizes are bytes, [images.Unknown] if unknown.
type busImage struct {
	Class, Name, Type, Path                      string
	ReadOnly                                     bool
	Created, Modified                            uint64
	Usage, UsageExclusive, Limit, LimitExclusive uint64
}

func (b *Bus) listTransfers(context.Context, *bus.Call) ([]busTransfer, error) {
	list := []busTransfer{}
	for _, t := range b.api.Manager.List() {
		list = append(list, busTransfer{t.ID, string(t.Kind), t.Remote, t.Local, t.Progress, transferPath(t.ID)})
	}
	return list, nil
}

func (b *Bus) listTransfersEx(_ context.Context, _ *bus.Call, class string, flags uint64) ([]busTransferEx, error) {
	classes, err := filter(class, flags)
	if err != nil {
		return nil, err
	}
	list := []busTransferEx{}
	for _, t := range b.api.Manager.List() {
		if len(classes) == 0 || t.Class == classes[0] {
			list = append(list, exEntry(t))
		}
	}
	return list, nil
}

func exEntry(t importd.Info) busTransferEx {
	return busTransferEx{t.ID, string(t.Kind), t.Remote, t.Local, string(t.Class), t.Progress, transferPath(t.ID)}
}

func (b *Bus) listImages(ctx context.Context, _ *bus.Call, class string, flags uint64) ([]busImage, error) {
	classes, err := filter(class, flags)
	if err != nil {
		return nil, err
	}
	found, err := b.api.Images.List(ctx, classes...)
	if err != nil {
		return nil, err
	}
	list := make([]busImage, len(found))
	for i, f := range found {
		list[i] = busImage{
			string(f.Class), f.Name, string(f.Type), f.Path, f.ReadOnly, unixMicro(f.Created), unixMicro(f.Modified),
			f.Usage, f.UsageExclusive, f.Limit, f.LimitExclusive,
		}
	}
	return list, nil
}

// filter reads the arguments of a list: the class that is wanted, none for all,
// and flags of which there are none.
func filter(class string, flags uint64) ([]images.Class, error) {
	var classes []images.Class
	if class != "" {
		c, err := images.ParseClass(class)
		if err != nil {
			return nil, &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
		}
		classes = append(classes, c)
	}
	return classes, checkFlags(flags, 0)
}

func unixMicro(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMicro(), 0))
}

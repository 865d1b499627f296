package machineapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/cmd/internal/bus"
	"berth/images"

	"github.com/godbus/dbus/v5"
)

func imagePath(name string) dbus.ObjectPath {
	return busImages + "/" + dbus.ObjectPath(bus.EscapeLabel(name))
}

// getImage takes a name that can never be one for an image that is not there.
func (b *Bus) getImage(ctx context.Context, _ *bus.Call, name string) (dbus.ObjectPath, error) {
	i, err := b.Manager.Image(ctx, name)
	if errors.Is(err, images.ErrInvalidName) {
		err = fmt.Errorf("%w: %w", images.ErrNotFound, err)
	}
	if err != nil {
		return "", busError(err)
	}
	return imagePath(i.Name), nil
}

// busImageEntry is an entry of ListImages; the fields are in the order of the
// wire. Times are microseconds since the epoch, 0 if unknown.
type busImageEntry struct {
	Name, Type               string
	ReadOnly                 bool
	Created, Modified, Usage uint64
	Path                     dbus.ObjectPath
}

func (b *Bus) listBusImages(ctx context.Context, _ *bus.Call) ([]busImageEntry, error) {
	all, err := b.Manager.Images(ctx)
	if err != nil {
		return nil, busError(err)
	}
	list := []busImageEntry{}
	for _, i := range all {
		list = append(list, busImageEntry{
			i.Name, string(i.Type), i.ReadOnly, unixMicro(i.Created), unixMicro(i.Modified), i.Usage, imagePath(i.Name),
		})
	}
	return list, nil
}

func unixMicro(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMicro(), 0))
}

// manageImage checks what all changes of an image have in common. What is wrong
// with the other arguments is told after what is wrong with the image.
func (b *Bus) manageImage(ctx context.Context, call *bus.Call, name string, about map[string]string, wrong error) error {
	if err := images.ValidName(name); err != nil {
		return busError(err)
	}
	if _, err := b.Manager.Image(ctx, name); err != nil {
		return busError(err)
	}
	if wrong != nil {
		return busError(wrong)
	}
	return b.authorizeBus(ctx, call, actionManageImages, about)
}

// removeBusImage goes on when the caller leaves, as everything that takes time.
func (b *Bus) removeBusImage(ctx context.Context, call *bus.Call, name string) error {
	if err := b.manageImage(ctx, call, name, imageDetails(name, "remove"), nil); err != nil {
		return err
	}
	return busError(b.Manager.RemoveImage(call.Detach(), name)) //nolint:contextcheck // on purpose
}

func (b *Bus) renameBusImage(ctx context.Context, call *bus.Call, name, newName string) error {
	about := imageDetails(name, "rename")
	about["new_name"] = newName
	if err := b.manageImage(ctx, call, name, about, images.ValidName(newName)); err != nil {
		return err
	}
	return busError(b.Manager.RenameImage(ctx, name, newName))
}

func (b *Bus) cloneBusImage(ctx context.Context, call *bus.Call, name, newName string, readOnly bool) error {
	about := imageDetails(name, "clone")
	about["new_name"], about["read_only"] = newName, digit(readOnly)
	if err := b.manageImage(ctx, call, name, about, images.ValidName(newName)); err != nil {
		return err
	}
	return busError(b.Manager.CloneImage(call.Detach(), name, newName, images.CloneOptions{ReadOnly: readOnly})) //nolint:contextcheck // see removeBusImage
}

func (b *Bus) markBusImage(ctx context.Context, call *bus.Call, name string, readOnly bool) error {
	about := imageDetails(name, "mark_read_only")
	about["read_only"] = digit(readOnly)
	if err := b.manageImage(ctx, call, name, about, nil); err != nil {
		return err
	}
	return busError(b.Manager.SetImageReadOnly(ctx, name, readOnly))
}

func (b *Bus) limitBusImage(ctx context.Context, call *bus.Call, name string, bytes uint64) error {
	var wrong error
	if !images.ValidLimit(bytes) {
		wrong = invalidArgs("%d is no size of an image", bytes)
	}
	about := imageDetails(name, "set_limit")
	about["machine"] = name // the only key that the stock daemon has here
	if err := b.manageImage(ctx, call, name, about, wrong); err != nil {
		return err
	}
	return busError(b.Manager.SetImageLimit(ctx, name, bytes))
}

func (b *Bus) limitBusPool(ctx context.Context, call *bus.Call, bytes uint64) error {
	if !images.ValidLimit(bytes) {
		return invalidArgs("%d is no size of images", bytes)
	}
	if err := b.authorizeBus(ctx, call, actionManageImages, map[string]string{"verb": "set_pool_limit"}); err != nil {
		return err
	}
	return busError(b.Manager.SetPoolLimit(ctx, bytes))
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// busRemoved is an entry of the result of CleanPool.
type busRemoved struct {
	Name           string
	UsageExclusive uint64
}

func (b *Bus) cleanBusPool(ctx context.Context, call *bus.Call, mode string) ([]busRemoved, error) {
	m, ok := cleanModes[mode]
	if !ok {
		return nil, invalidArgs("%q is neither hidden nor all", mode)
	}
	about := map[string]string{"verb": "clean_pool", "mode": mode}
	if err := b.authorizeBus(ctx, call, actionManageImages, about); err != nil {
		return nil, err
	}
	removed, err := b.Manager.CleanPool(call.Detach(), m) //nolint:contextcheck // see removeBusImage
	list := []busRemoved{}
	for _, r := range removed {
		list = append(list, busRemoved{r.Name, r.UsageExclusive})
	}
	return list, busError(err)
}

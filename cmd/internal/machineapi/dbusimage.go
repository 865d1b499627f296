package machineapi

import (
	"context"
	"errors"

	"berth/cmd/internal/bus"
	"berth/images"
)

// imageObjects are the objects of all images.
type imageObjects struct{ *Bus }

var _ bus.Directory = imageObjects{}

// List gives the labels of all images.
func (o imageObjects) List(ctx context.Context) ([]string, error) {
	all, err := o.Manager.Images(ctx)
	if err != nil {
		return nil, busError(err)
	}
	var labels []string
	for _, i := range all {
		labels = append(labels, bus.EscapeLabel(i.Name))
	}
	return labels, nil
}

// Lookup finds an image by its label.
func (o imageObjects) Lookup(ctx context.Context, _ *bus.Call, label string) (*bus.Object, error) {
	i, err := o.Manager.Image(ctx, bus.UnescapeLabel(label))
	switch {
	case errors.Is(err, images.ErrNotFound), errors.Is(err, images.ErrInvalidName):
		return nil, nil
	case err != nil:
		return nil, busError(err)
	}
	return &bus.Object{Interfaces: []*bus.Interface{o.imageObject(i)}}, nil
}

func (b *Bus) imageObject(i images.Image) *bus.Interface {
	return &bus.Interface{
		Name: busImageName,
		Properties: []bus.Property{
			silent("Name", "s", i.Name),
			silent("Path", "s", i.Path),
			silent("Type", "s", string(i.Type)),
			silent("ReadOnly", "b", i.ReadOnly),
			silent("CreationTimestamp", "t", unixMicro(i.Created)),
			silent("ModificationTimestamp", "t", unixMicro(i.Modified)),
			silent("Usage", "t", i.Usage),
			silent("Limit", "t", i.Limit),
			silent("UsageExclusive", "t", i.UsageExclusive),
			silent("LimitExclusive", "t", i.LimitExclusive),
		},
		Methods: b.imageObjectMethods(i.Name),
	}
}

// imageObjectMethods are methods of the manager, for one image. The stock
// daemon has no names for their arguments.
func (b *Bus) imageObjectMethods(name string) []bus.Method {
	return []bus.Method{
		method("Remove", "", "", func(ctx context.Context, call *bus.Call) error {
			return b.removeBusImage(ctx, call, name)
		}),
		method("Rename", "s", "", func(ctx context.Context, call *bus.Call, newName string) error {
			return b.renameBusImage(ctx, call, name, newName)
		}),
		method("Clone", "s, b", "", func(ctx context.Context, call *bus.Call, newName string, readOnly bool) error {
			return b.cloneBusImage(ctx, call, name, newName, readOnly)
		}),
		method("MarkReadOnly", "b", "", func(ctx context.Context, call *bus.Call, readOnly bool) error {
			return b.markBusImage(ctx, call, name, readOnly)
		}),
		method("SetLimit", "t", "", func(ctx context.Context, call *bus.Call, bytes uint64) error {
			return b.limitBusImage(ctx, call, name, bytes)
		}),
		method("GetHostname", "", "s", func(ctx context.Context, call *bus.Call) (string, error) {
			return b.imageHostname(ctx, call, name)
		}),
		method("GetMachineID", "", "ay", func(ctx context.Context, call *bus.Call) ([]byte, error) {
			return b.imageMachineID(ctx, call, name)
		}),
		method("GetMachineInfo", "", "a{ss}", func(ctx context.Context, call *bus.Call) (map[string]string, error) {
			return b.imageMachineInfo(ctx, call, name)
		}),
		method("GetOSRelease", "", "a{ss}", func(ctx context.Context, call *bus.Call) (map[string]string, error) {
			return b.imageOSRelease(ctx, call, name)
		}),
	}
}

// metadata of a tree may be read by everybody. A disk is mounted for it, and not
// everybody may have the kernel do that.
func (b *Bus) metadata(ctx context.Context, call *bus.Call, name string) (images.Metadata, error) {
	if err := images.ValidName(name); err != nil {
		return images.Metadata{}, busError(err)
	}
	i, err := b.Manager.Image(ctx, name)
	if err != nil {
		return images.Metadata{}, busError(err)
	}
	if i.Type == images.TypeRaw || i.Type == images.TypeBlock {
		if err := b.authorizeBus(ctx, call, actionInspectImages, imageDetails(name, "get_metadata")); err != nil {
			return images.Metadata{}, err
		}
	}
	m, err := b.Manager.ImageMetadata(ctx, name)
	return m, busError(err)
}

func (b *Bus) imageHostname(ctx context.Context, call *bus.Call, name string) (string, error) {
	m, err := b.metadata(ctx, call, name)
	return m.Hostname, err
}

func (b *Bus) imageMachineID(ctx context.Context, call *bus.Call, name string) ([]byte, error) {
	m, err := b.metadata(ctx, call, name)
	if m.MachineID == [16]byte{} {
		return []byte{}, err
	}
	return m.MachineID[:], err
}

func (b *Bus) imageMachineInfo(ctx context.Context, call *bus.Call, name string) (map[string]string, error) {
	m, err := b.metadata(ctx, call, name)
	return dictionary(m.MachineInfo), err
}

func (b *Bus) imageOSRelease(ctx context.Context, call *bus.Call, name string) (map[string]string, error) {
	m, err := b.metadata(ctx, call, name)
	return dictionary(m.OSRelease), err
}

package machineapi

import (
	"context"
	"encoding/hex"
	"math"

	"berth/images"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sync/errgroup"
)

// Images describes all images.
func (c *BusClient) Images(ctx context.Context) ([]Image, error) {
	var rows []struct {
		Name, Type        string
		ReadOnly          bool
		Created, Modified uint64
		Usage             uint64
		Path              dbus.ObjectPath
	}
	if err := c.manager(ctx, "", "ListImages", []any{&rows}); err != nil {
		return nil, err
	}
	list := make([]Image, len(rows))
	for i, r := range rows {
		list[i] = Image{
			Name: r.Name, Type: images.Type(r.Type), ReadOnly: r.ReadOnly,
			Created: knownTime(r.Created), Modified: knownTime(r.Modified), Usage: knownSize(r.Usage),
		}
	}
	return list, nil
}

func knownSize(n uint64) *uint64 {
	if n == math.MaxUint64 {
		return nil
	}
	return &n
}

func knownTime(n uint64) *int64 {
	if n == 0 || n > math.MaxInt64 {
		return nil
	}
	t := int64(n)
	return &t
}

// ImageProperties lists the properties of an image.
func (c *BusClient) ImageProperties(ctx context.Context, name string) ([]Property, error) {
	var path dbus.ObjectPath
	if err := c.manager(ctx, name, "GetImage", []any{&path}, name); err != nil {
		return nil, err
	}
	all, err := c.propertiesOf(ctx, object{BusName, path}, BusName+".Image")
	return ordered(all, imageOrder), err
}

// Image describes one image, with what can be read inside it.
func (c *BusClient) Image(ctx context.Context, name string) (Image, error) {
	list, err := c.ImageProperties(ctx, name)
	if err != nil {
		return Image{}, err
	}
	i := imageOf(list)
	var group errgroup.Group
	ask := func(method string, result any, use func()) {
		group.Go(func() error {
			if c.manager(ctx, name, method, []any{result}, name) == nil {
				use()
			}
			return nil
		})
	}
	var hostname string
	var id []byte
	var info, release map[string]string
	ask("GetImageHostname", &hostname, func() { i.Hostname = hostname })
	ask("GetImageMachineID", &id, func() {
		if !allZero(id) {
			i.MachineID = hex.EncodeToString(id)
		}
	})
	ask("GetImageMachineInfo", &info, func() { i.MachineInfo = sortedAssignments(info) })
	ask("GetImageOSRelease", &release, func() { i.OSRelease = sortedAssignments(release) })
	return i, group.Wait()
}

// imageOf is the way back from the properties of an image.
func imageOf(list []Property) (i Image) {
	for _, p := range list {
		switch value := p.Value.(type) {
		case string:
			setNumber(map[string]*string{"Name": &i.Name, "Path": &i.Path, "Type": (*string)(&i.Type)}, p.Name, value)
		case bool:
			setNumber(map[string]*bool{"ReadOnly": &i.ReadOnly}, p.Name, value)
		case uint64:
			setNumber(map[string]**int64{"CreationTimestamp": &i.Created, "ModificationTimestamp": &i.Modified}, p.Name, knownTime(value))
			setNumber(map[string]**uint64{
				"Usage": &i.Usage, "Limit": &i.Limit, "UsageExclusive": &i.UsageExclusive, "LimitExclusive": &i.LimitExclusive,
			}, p.Name, knownSize(value))
		}
	}
	return i
}

// Clone copies an image. Nothing tells of progress over D-Bus.
func (c *BusClient) Clone(ctx context.Context, name, newName string, options images.CloneOptions) error {
	return c.manager(ctx, name, "CloneImage", nil, name, newName, options.ReadOnly)
}

// Rename gives an image another name.
func (c *BusClient) Rename(ctx context.Context, name, newName string) error {
	return c.manager(ctx, name, "RenameImage", nil, name, newName)
}

// SetReadOnly marks an image read-only or writable.
func (c *BusClient) SetReadOnly(ctx context.Context, name string, readOnly bool) error {
	return c.manager(ctx, name, "MarkImageReadOnly", nil, name, readOnly)
}

// SetLimit limits the size of an image, in bytes; [images.Unknown] is no limit.
func (c *BusClient) SetLimit(ctx context.Context, name string, limit uint64) error {
	return c.manager(ctx, name, "SetImageLimit", nil, name, limit)
}

// SetPoolLimit limits the size of all images together.
func (c *BusClient) SetPoolLimit(ctx context.Context, limit uint64) error {
	return c.manager(ctx, "", "SetPoolLimit", nil, limit)
}

// Remove removes an image.
func (c *BusClient) Remove(ctx context.Context, name string) error {
	return c.manager(ctx, name, "RemoveImage", nil, name)
}

// Clean removes hidden images, or all, and returns what is gone.
func (c *BusClient) Clean(ctx context.Context, all bool) ([]images.Removed, error) {
	var rows []struct {
		Name  string
		Usage uint64
	}
	if err := c.manager(ctx, "", "CleanPool", []any{&rows}, cleanMode(all)); err != nil {
		return nil, err
	}
	removed := make([]images.Removed, len(rows))
	for i, r := range rows {
		removed[i] = images.Removed{Name: r.Name, UsageExclusive: r.Usage}
	}
	return removed, nil
}

func cleanMode(all bool) string {
	if all {
		return "all"
	}
	return "hidden"
}

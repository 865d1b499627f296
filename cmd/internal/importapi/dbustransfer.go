package importapi

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"berth/cmd/internal/bus"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

const (
	transfersPath dbus.ObjectPath = managerPath + "/transfer"
	transferName                  = BusName + ".Transfer"
)

func transferPath(id uint32) dbus.ObjectPath {
	return transfersPath + "/" + dbus.ObjectPath(transferLabel(id))
}

func transferLabel(id uint32) string { return "_" + strconv.FormatUint(uint64(id), 10) }

// transferID undoes transferLabel.
func transferID(label string) (uint32, bool) {
	id, err := strconv.ParseUint(strings.TrimPrefix(label, "_"), 10, 32)
	return uint32(id), err == nil && label == transferLabel(uint32(id))
}

// transfers are the transfer objects.
type transfers struct{ *Bus }

var _ bus.Directory = transfers{}

// List gives the labels of the transfers under way.
func (t transfers) List(context.Context) ([]string, error) {
	var labels []string
	for _, info := range t.api.Manager.List() {
		labels = append(labels, transferLabel(info.ID))
	}
	return labels, nil
}

// Lookup finds a transfer under way.
func (t transfers) Lookup(_ context.Context, _ *bus.Call, label string) (*bus.Object, error) {
	id, ok := transferID(label)
	if !ok {
		return nil, nil
	}
	found, err := t.api.Manager.Find(id)
	if errors.Is(err, importd.ErrNoSuchTransfer) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &bus.Object{Interfaces: []*bus.Interface{t.transfer(found.Info)}}, nil
}

// transfer declares one; info is asked at each use.
func (b *Bus) transfer(info func() importd.Info) *bus.Interface {
	text := func(name string, get func(importd.Info) string) bus.Property {
		return bus.Property{
			Name: name, Type: "s", Emits: bus.EmitsConst,
			Get: func(context.Context) (any, error) { return get(info()), nil },
		}
	}
	return &bus.Interface{
		Name: transferName,
		Properties: []bus.Property{
			{
				Name: "Id", Type: "u", Emits: bus.EmitsConst,
				Get: func(context.Context) (any, error) { return info().ID, nil },
			},
			text("Local", func(i importd.Info) string { return i.Local }),
			text("Remote", func(i importd.Info) string { return i.Remote }),
			text("Type", func(i importd.Info) string { return string(i.Kind) }),
			text("Verify", func(i importd.Info) string { return string(i.Verify) }),
			{
				Name: "Progress", Type: "d", Emits: bus.EmitsFalse,
				Get: func(context.Context) (any, error) { return info().Progress, nil },
			},
		},
		Methods: []bus.Method{{
			Name: "Cancel",
			Func: func(ctx context.Context, call *bus.Call) error { return b.cancel(ctx, call, info().ID) },
		}},
		Signals: []bus.Signal{
			{Name: "LogMessage", Args: bus.Args("priority u, line s")},
			{Name: "ProgressUpdate", Args: bus.Args("progress d")},
		},
	}
}

// cancel is Cancel of a transfer and CancelTransfer of the manager.
func (b *Bus) cancel(ctx context.Context, call *bus.Call, id uint32) error {
	if id == 0 {
		return invalidArgs("transfer ids begin with 1")
	}
	if err := b.authorizeBus(ctx, call, actionCancel); err != nil {
		return err
	}
	err := b.api.Manager.Cancel(id)
	if errors.Is(err, importd.ErrNoSuchTransfer) {
		return noSuchTransfer(id)
	}
	return err
}

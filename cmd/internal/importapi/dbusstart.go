package importapi

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"

	"github.com/godbus/dbus/v5"
)

// Flags of the calls whose names end in Ex.
const (
	flagForce uint64 = 1 << iota
	flagReadOnly
	flagKeepDownload
)

// errNoRegistries is the answer to a pull from a container registry.
var errNoRegistries = fmt.Errorf("importd has no client for container registries yet: PullOci is not supported (%w)", syscall.EOPNOTSUPP)

// pullOCI is there for clients that look for it.
func pullOCI(_ context.Context, _ *bus.Call, _, local, class string, flags uint64) (uint32, dbus.ObjectPath, error) {
	if _, err := request(importd.PullTar, class, flags, flagForce|flagReadOnly); err != nil {
		return 0, "", err
	}
	if local != "" {
		if err := images.ValidName(local); err != nil {
			return 0, "", &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
		}
	}
	return 0, "", &bus.Error{Name: bus.ErrorNotSupported, Err: errNoRegistries}
}

// The older calls are for machines only.
const oldClass = string(images.ClassMachine)

func flagIf(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

// request begins a request with what all the newer calls have.
func request(kind importd.Kind, class string, flags, allowed uint64) (importd.Request, error) {
	c, err := images.ParseClass(class)
	if err != nil {
		return importd.Request{}, &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
	}
	if err := checkFlags(flags, allowed); err != nil {
		return importd.Request{}, err
	}
	return importd.Request{
		Kind: kind, Class: c, Force: flags&flagForce != 0, ReadOnly: flags&flagReadOnly != 0,
		KeepDownload: flags&flagKeepDownload != 0,
	}, nil
}

func checkFlags(flags, allowed uint64) error {
	if unknown := flags &^ allowed; unknown != 0 {
		return invalidArgs("flags %#x are not known", unknown)
	}
	return nil
}

func (b *Bus) importNew(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, f *os.File, local, class string, flags uint64) (uint32, dbus.ObjectPath, error) {
		return b.importFile(ctx, call, kind, f, local, class, flags)
	}
}

func (b *Bus) importOld(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, f *os.File, local string, force, readOnly bool) (uint32, dbus.ObjectPath, error) {
		flags := flagIf(force, flagForce) | flagIf(readOnly, flagReadOnly)
		return b.importFile(ctx, call, kind, f, local, oldClass, flags)
	}
}

func (b *Bus) importFile(ctx context.Context, call *bus.Call, kind importd.Kind, f *os.File, local, class string, flags uint64) (uint32, dbus.ObjectPath, error) {
	if err := b.authorizeBus(ctx, call, actionImport); err != nil {
		return 0, "", err
	}
	r, err := request(kind, class, flags, flagForce|flagReadOnly)
	if err != nil {
		return 0, "", err
	}
	r.File, r.Local = f, local
	return b.start(call, r)
}

func (b *Bus) exportNew(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, local, class string, f *os.File, format string, flags uint64) (uint32, dbus.ObjectPath, error) {
		return b.export(ctx, call, kind, local, class, f, format, flags)
	}
}

func (b *Bus) exportOld(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, local string, f *os.File, format string) (uint32, dbus.ObjectPath, error) {
		return b.export(ctx, call, kind, local, oldClass, f, format, 0)
	}
}

func (b *Bus) export(ctx context.Context, call *bus.Call, kind importd.Kind, local, class string, f *os.File, format string, flags uint64) (uint32, dbus.ObjectPath, error) {
	if err := b.authorizeBus(ctx, call, actionExport); err != nil {
		return 0, "", err
	}
	r, err := request(kind, class, flags, 0)
	if err != nil {
		return 0, "", err
	}
	if format != "" {
		if r.Format, err = compress.ParseFormat(format); err != nil {
			return 0, "", &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
		}
	}
	r.File, r.Local = f, local
	return b.start(call, r)
}

func (b *Bus) pullNew(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, url, local, class, verify string, flags uint64) (uint32, dbus.ObjectPath, error) {
		return b.pull(ctx, call, kind, url, local, class, verify, flags)
	}
}

func (b *Bus) pullOld(kind importd.Kind) any {
	return func(ctx context.Context, call *bus.Call, url, local, verify string, force bool) (uint32, dbus.ObjectPath, error) {
		return b.pull(ctx, call, kind, url, local, oldClass, verify, flagIf(force, flagForce))
	}
}

// pull takes an empty name for none, as the interface is documented: only the
// copy that is kept for later is wanted then.
func (b *Bus) pull(ctx context.Context, call *bus.Call, kind importd.Kind, url, local, class, verify string, flags uint64) (uint32, dbus.ObjectPath, error) {
	if err := b.authorizeBus(ctx, call, actionPull); err != nil {
		return 0, "", err
	}
	r, err := request(kind, class, flags, flagForce|flagReadOnly|flagKeepDownload)
	if err != nil {
		return 0, "", err
	}
	r.Remote, r.Local, r.Verify = url, local, importd.Verify(verify)
	if local == "" {
		r.Local = importd.NoLocal
	}
	return b.start(call, r)
}

package importapi

import (
	"berth/cmd/internal/bus"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

const (
	managerPath dbus.ObjectPath = "/org/freedesktop/import1"
	managerName                 = BusName + ".Manager"
)

// manager declares the interface of the manager object. Each way of moving an
// image has two calls, the newer with a class and flags.
func (b *Bus) manager() *bus.Interface {
	return &bus.Interface{
		Name: managerName,
		Methods: []bus.Method{
			starter("ImportTar", importArgs, b.importOld(importd.ImportTar)),
			starter("ImportTarEx", importExArgs, b.importNew(importd.ImportTar)),
			starter("ImportRaw", importArgs, b.importOld(importd.ImportRaw)),
			starter("ImportRawEx", importExArgs, b.importNew(importd.ImportRaw)),
			starter("ImportFileSystem", importArgs, b.importOld(importd.ImportFS)),
			starter("ImportFileSystemEx", importExArgs, b.importNew(importd.ImportFS)),
			starter("ExportTar", exportArgs, b.exportOld(importd.ExportTar)),
			starter("ExportTarEx", exportExArgs, b.exportNew(importd.ExportTar)),
			starter("ExportRaw", exportArgs, b.exportOld(importd.ExportRaw)),
			starter("ExportRawEx", exportExArgs, b.exportNew(importd.ExportRaw)),
			starter("PullTar", pullArgs, b.pullOld(importd.PullTar)),
			starter("PullTarEx", pullExArgs, b.pullNew(importd.PullTar)),
			starter("PullRaw", pullArgs, b.pullOld(importd.PullRaw)),
			starter("PullRawEx", pullExArgs, b.pullNew(importd.PullRaw)),
			starter("PullOci", "ref s, local_name s, class s, flags t", pullOCI),
			{Name: "ListTransfers", Out: bus.Args("transfers a(usssdo)"), Func: b.listTransfers},
			{Name: "ListTransfersEx", In: bus.Args("class s, flags t"), Out: bus.Args("transfers a(ussssdo)"), Func: b.listTransfersEx},
			{Name: "CancelTransfer", In: bus.Args("transfer_id u"), Func: b.cancel},
			{Name: "ListImages", In: bus.Args("class s, flags t"), Out: bus.Args("images a(ssssbtttttt)"), Func: b.listImages},
		},
		Signals: []bus.Signal{
			{Name: "TransferNew", Args: bus.Args("transfer_id u, transfer_path o")},
			{Name: "TransferRemoved", Args: bus.Args("transfer_id u, transfer_path o, result s")},
		},
	}
}

// The arguments of the calls that start a transfer.
const (
	importArgs   = "fd h, local_name s, force b, read_only b"
	importExArgs = "fd h, local_name s, class s, flags t"
	exportArgs   = "local_name s, fd h, format s"
	exportExArgs = "local_name s, class s, fd h, format s, flags t"
	pullArgs     = "url s, local_name s, verify_mode s, force b"
	pullExArgs   = "url s, local_name s, class s, verify_mode s, flags t"
)

func starter(name, in string, fn any) bus.Method {
	return bus.Method{Name: name, In: bus.Args(in), Out: bus.Args("transfer_id u, transfer_path o"), Func: fn}
}

// start starts a transfer and makes the reply. The transfer outlives the call.
//
//nolint:contextcheck // see above
func (b *Bus) start(call *bus.Call, r importd.Request) (uint32, dbus.ObjectPath, error) {
	s := b.order.enter()
	call.AfterReply(func() { b.order.leave(s) })
	if r.File != nil {
		call.Keep(r.File)
	}
	t, err := b.api.Manager.Start(r)
	if err != nil {
		return 0, "", busError(err)
	}
	b.order.started(s, t.ID())
	return t.ID(), transferPath(t.ID()), nil
}

package importapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/cmd/internal/wire"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"
)

// Service is importd behind its transports.
type Service struct {
	Manager *importd.Manager
	Images  *images.Store
	Auth    Authorizer
}

// Varlink adds both interfaces to a server, which must accept file descriptors.
func (s *Service) Varlink(server *varlink.Server) error {
	systemd := flavour{systemdName, s}
	if err := server.Handle(systemdInterface, map[string]varlink.Handler{
		"ListTransfers": s.listTransfers,
		"Pull":          systemd.pull,
	}); err != nil {
		return fmt.Errorf("serve %s: %w", systemdName, err)
	}
	berth := flavour{berthName, s}
	if err := server.Handle(berthInterface, map[string]varlink.Handler{
		"Pull":       berth.pull,
		"Import":     berth.importFile,
		"Export":     berth.export,
		"Cancel":     s.cancel,
		"ListImages": s.listImages,
	}); err != nil {
		return fmt.Errorf("serve %s: %w", berthName, err)
	}
	return nil
}

// flavour is one of the two interfaces: they share their calls and differ in the
// errors that they can tell.
type flavour struct {
	name string
	*Service
}

func (f flavour) error(name string, parameters any) error {
	return &varlink.Error{Name: f.name + "." + name, Parameters: parameters}
}

func (f flavour) pull(ctx context.Context, call *varlink.Call) error {
	var in PullParameters
	if err := call.Parameters(&in); err != nil {
		return err
	}
	kinds := map[Form]importd.Kind{FormRaw: importd.PullRaw, FormTar: importd.PullTar}
	kind, ok := kinds[in.Type]
	switch {
	case in.Type == FormOCI:
		return errNoRegistries
	case !ok:
		return varlink.InvalidParameter("type")
	}
	details := map[string]string{
		"remote": in.Remote, "local": in.Local, "class": string(in.Class),
		"type": string(in.Type), "verify": string(in.Verify),
	}
	if err := wire.Authorize(ctx, f.Auth, call, actionPull, details, in.Interactive); err != nil {
		return err
	}
	return f.run(ctx, call, importd.Request{
		Kind: kind, Class: in.Class, Local: in.Local, Remote: in.Remote, Verify: in.Verify,
		Force: in.Force, ReadOnly: in.ReadOnly, KeepDownload: in.KeepDownload, ImageRoot: in.ImageRoot,
	})
}

func (f flavour) importFile(ctx context.Context, call *varlink.Call) error {
	var in ImportParameters
	if err := call.Parameters(&in); err != nil {
		return err
	}
	kinds := map[Form]importd.Kind{FormRaw: importd.ImportRaw, FormTar: importd.ImportTar, FormFS: importd.ImportFS}
	kind, ok := kinds[in.Type]
	if !ok {
		return varlink.InvalidParameter("type")
	}
	if err := wire.Authorize(ctx, f.Auth, call, actionImport, nil, in.Interactive); err != nil {
		return err
	}
	file, ok := call.TakeFD(in.FileDescriptor)
	if !ok {
		return varlink.InvalidParameter("fileDescriptor")
	}
	return f.run(ctx, call, importd.Request{
		Kind: kind, Class: in.Class, Local: in.Local, File: file,
		Force: in.Force, ReadOnly: in.ReadOnly, ImageRoot: in.ImageRoot,
	})
}

func (f flavour) export(ctx context.Context, call *varlink.Call) error {
	var in ExportParameters
	if err := call.Parameters(&in); err != nil {
		return err
	}
	kind := importd.ExportRaw
	if in.Type == FormTar {
		kind = importd.ExportTar
	} else if in.Type != FormRaw {
		return varlink.InvalidParameter("type")
	}
	format := compress.None
	if in.Format != "" {
		var err error
		if format, err = compress.ParseFormat(in.Format); err != nil {
			return varlink.InvalidParameter("format")
		}
	}
	if err := wire.Authorize(ctx, f.Auth, call, actionExport, nil, in.Interactive); err != nil {
		return err
	}
	file, ok := call.TakeFD(in.FileDescriptor)
	if !ok {
		return varlink.InvalidParameter("fileDescriptor")
	}
	return f.run(ctx, call, importd.Request{Kind: kind, Class: in.Class, Local: in.Local, Format: format, File: file})
}

// run starts a transfer or joins one that does the same and, for a client that
// asked for more, reports until its end. The transfer goes on when the client
// leaves.
func (f flavour) run(ctx context.Context, call *varlink.Call, r importd.Request) error {
	events := f.Manager.Subscribe()
	defer events.Close()
	t, joined, err := f.Manager.Join(r)
	if err != nil {
		return f.startError(err)
	}
	started := Update{ID: t.ID()}
	if !call.More() {
		return call.Reply(started)
	}
	err = call.Continue(started)
	if err == nil && joined {
		err = catchUp(call, t.Info())
	}
	if err != nil {
		return err
	}
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if e.Transfer.ID != t.ID() {
			continue
		}
		switch e.Kind {
		case importd.EventProgress:
			err = call.Continue(Update{Progress: &e.Transfer.Progress})
		case importd.EventLog:
			err = call.Continue(Update{Log: &e.Log})
		case importd.EventRemoved:
			return f.end(call, e.Err)
		case importd.EventNew:
		}
		if err != nil {
			return err
		}
	}
}

// catchUp tells a client of a transfer that began earlier what it has missed.
func catchUp(call *varlink.Call, t importd.Info) error {
	line := importd.LogLine{
		Priority: importd.PriorityNotice,
		Message:  fmt.Sprintf("The same is being pulled already, as transfer %d.", t.ID),
	}
	err := call.Continue(Update{Log: &line})
	if err == nil && t.Progress >= 0 {
		err = call.Continue(Update{Progress: &t.Progress})
	}
	return err
}

func (f flavour) startError(err error) error {
	var invalid *importd.InvalidError
	switch {
	case errors.As(err, &invalid) && f.name == berthName:
		return f.error("InvalidRequest", refusal{invalid.Field, invalid.Reason})
	case errors.As(err, &invalid):
		return varlink.InvalidParameter(invalid.Field)
	case errors.Is(err, importd.ErrTooMany) && f.name == berthName:
		return f.error("TooManyTransfers", nil)
	}
	return err
}

func (f flavour) end(call *varlink.Call, err error) error {
	switch {
	case err == nil:
		return call.Reply(nil)
	case errors.Is(err, importd.ErrCanceled):
		return f.error("TransferCancelled", nil)
	case f.name != berthName:
		return f.error("TransferFailed", nil)
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	return f.error("TransferFailed", failure{err.Error(), int(errno)})
}

func (s *Service) cancel(ctx context.Context, call *varlink.Call) error {
	var in struct {
		ID          int64 `json:"id"`
		Interactive bool  `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.ID <= 0 || in.ID > 1<<32-1 {
		return varlink.InvalidParameter("id")
	}
	if err := wire.Authorize(ctx, s.Auth, call, actionCancel, nil, in.Interactive); err != nil {
		return err
	}
	err := s.Manager.Cancel(uint32(in.ID))
	if errors.Is(err, importd.ErrNoSuchTransfer) {
		return &varlink.Error{Name: berthName + ".NoSuchTransfer", Parameters: map[string]int64{"id": in.ID}}
	}
	return err
}

func (s *Service) listTransfers(_ context.Context, call *varlink.Call) error {
	var in struct {
		Class images.Class `json:"class"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if !call.More() {
		return varlink.ExpectedMore()
	}
	var list iter.Seq2[Transfer, error] = func(yield func(Transfer, error) bool) {
		for _, t := range s.Manager.List() {
			if in.Class != "" && in.Class != t.Class {
				continue
			}
			if !yield(Transfer{
				ID: t.ID, Type: strings.ReplaceAll(string(t.Kind), "-", "_"), Remote: t.Remote,
				Local: t.Local, Class: t.Class, Percent: t.Progress,
			}, nil) {
				return
			}
		}
	}
	return varlink.ReplyEach(call, list, &varlink.Error{Name: systemdName + ".NoTransfers"})
}

func (s *Service) listImages(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Class images.Class `json:"class"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if !call.More() {
		return varlink.ExpectedMore()
	}
	var classes []images.Class
	if in.Class != "" {
		classes = append(classes, in.Class)
	}
	found, err := s.Images.List(ctx, classes...)
	if err != nil {
		return err
	}
	var list iter.Seq2[map[string]Image, error] = func(yield func(map[string]Image, error) bool) {
		for _, i := range found {
			if !yield(map[string]Image{"image": imageOnWire(i)}, nil) {
				return
			}
		}
	}
	return varlink.ReplyEach(call, list, &varlink.Error{Name: berthName + ".NoImages"})
}

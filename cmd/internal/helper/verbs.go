package helper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/cmd/internal/console"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"
)

func (h *helper) pullTar(ctx context.Context, args []string) error {
	return h.pull(ctx, importd.PullTar, images.TarName, args)
}

func (h *helper) pullRaw(ctx context.Context, args []string) error {
	return h.pull(ctx, importd.PullRaw, images.RawName, args)
}

func (h *helper) pullOCI(context.Context, []string) error {
	return errors.New("images of container registries are not supported yet")
}

// pull downloads. Without a name the image has that of the URL, "-" stands for no
// image but the copy that is kept.
func (h *helper) pull(ctx context.Context, kind importd.Kind, imageName func(string) (string, error), args []string) (err error) {
	r := &h.request
	r.Kind, r.Remote = kind, args[0]
	r.KeepDownload = r.Class == images.ClassMachine
	if h.keepDownload != nil {
		r.KeepDownload = *h.keepDownload
	}
	r.Extras = h.chosenExtras()
	switch {
	case h.direct && len(args) < 2:
		err = h.into("")
	case h.direct:
		err = h.into(args[1])
	case len(args) > 1 && (args[1] == "" || args[1] == "-"):
		r.Local = importd.NoLocal
	case len(args) > 1:
		r.Local, err = imageName(args[1])
	}
	if err != nil {
		return err
	}
	return h.do(ctx)
}

// chosenExtras are what is usual but for what the options say.
func (h *helper) chosenExtras() []importd.Extra {
	on := map[importd.Extra]bool{}
	for _, extra := range importd.UsualExtras(h.request.Kind, h.request.Class) {
		on[extra] = true
	}
	for extra, wanted := range h.extras {
		on[extra] = wanted && (extra == importd.ExtraSettings || !h.request.Kind.Tree())
	}
	chosen := []importd.Extra{}
	for _, extra := range []importd.Extra{
		importd.ExtraSettings, importd.ExtraRootHash, importd.ExtraRootHashSignature, importd.ExtraVerity,
	} {
		if on[extra] {
			chosen = append(chosen, extra)
		}
	}
	return chosen
}

func (h *helper) importTar(ctx context.Context, args []string) error {
	return h.importFile(ctx, importd.ImportTar, images.TarName, 0, args)
}

func (h *helper) importRaw(ctx context.Context, args []string) error {
	return h.importFile(ctx, importd.ImportRaw, images.RawName, 0, args)
}

func (h *helper) importFS(ctx context.Context, args []string) error {
	plain := func(name string) (string, error) { return name, images.ValidName(name) }
	return h.importFile(ctx, importd.ImportFS, plain, syscall.O_DIRECTORY, args)
}

// unnamed is the name of an image from standard input.
const unnamed = "imported"

func (h *helper) importFile(ctx context.Context, kind importd.Kind, imageName func(string) (string, error), flags int, args []string) (err error) {
	r := &h.request
	r.Kind = kind
	switch {
	case h.direct && (len(args) < 2 || args[1] == "" || args[1] == "-"):
		return errors.New("no path to write to is given")
	case h.direct:
		err = h.into(args[1])
	case len(args) > 1 && args[1] != "" && args[1] != "-":
		r.Local, err = imageName(args[1])
	case args[0] == "" || args[0] == "-":
		r.Local = unnamed
	default:
		r.Local, err = nameOf(args[0], imageName)
	}
	if err != nil {
		return err
	}
	if r.File, err = h.openSource(args[0], flags); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.File.Close()) }()
	return h.do(ctx)
}

func nameOf(path string, imageName func(string) (string, error)) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("take the name of the image from the path: %w", err)
	}
	return imageName(filepath.Base(absolute))
}

func (h *helper) exportTar(ctx context.Context, args []string) error {
	return h.export(ctx, importd.ExportTar, args)
}

func (h *helper) exportRaw(ctx context.Context, args []string) error {
	return h.export(ctx, importd.ExportRaw, args)
}

// export writes the image of a name, or what is at a path.
func (h *helper) export(ctx context.Context, kind importd.Kind, args []string) (err error) {
	r := &h.request
	r.Kind, r.Local = kind, args[0]
	if strings.Contains(args[0], "/") || images.ValidName(args[0]) != nil {
		if r.Source, err = filepath.Abs(args[0]); err != nil {
			return fmt.Errorf("find image to export: %w", err)
		}
	}
	if len(args) < 2 || args[1] == "" || args[1] == "-" {
		if console.IsTerminal(h.Stdout) {
			return errors.New("standard output is a terminal: name a file to export to, or a pipe")
		}
		r.File = h.Stdout
		return h.do(ctx)
	}
	if r.Format == "" {
		r.Format = compress.FormatOf(args[1])
	}
	return h.exportTo(ctx, args[1])
}

// exportTo leaves no new file behind when the export fails. One that was there
// has lost its content by then.
func (h *helper) exportTo(ctx context.Context, path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	}
	if err != nil {
		return fmt.Errorf("open file to export to: %w", err)
	}
	h.request.File = file
	err = errors.Join(h.do(ctx), file.Close())
	if made && err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

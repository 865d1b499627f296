package helper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/nsresource"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// helper is one run of a program.
type helper struct {
	*console.Console
	settings
	program   program
	buildInfo string
	locations images.Locations
}

// Main is the main function of the program of that name, which [Is] knows. It
// returns the exit status: 0 or 1.
func Main(name, version string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// Whoever reads an export may leave; that is an error to tell, not a death.
	signal.Ignore(syscall.SIGPIPE)
	unix.Umask(0o022)
	h := &helper{
		Console: console.New(name), buildInfo: version,
		program: programs[slices.IndexFunc(programs, func(p program) bool { return p.name == name })],
	}
	h.extras = map[importd.Extra]bool{}
	h.request.Class = images.ClassMachine
	return h.fail(h.run(ctx, args))
}

func (h *helper) run(ctx context.Context, args []string) error {
	environment := ReadEnvironment(h.Getenv, func(text string) { h.log(importd.PriorityWarning, text) })
	h.noSync, h.noSubvolumes = environment.NoSync, environment.NoSubvolumes
	positional, err := cli.ParseOptions(h.flags(), args, nil)
	switch {
	case err != nil:
		return err
	case h.help:
		return h.printHelp()
	case h.version:
		_, err := fmt.Fprintf(h.Stdout, "berth %s %s\n", h.program.name, h.buildInfo)
		return err
	case h.introspect:
		return h.printDescription()
	}
	if err := h.check(); err != nil {
		return err
	}
	verb, rest, err := cli.FindVerb(h.cliVerbs(), positional)
	if err != nil {
		return err
	}
	if h.locations, err = h.places(); err != nil {
		return err
	}
	return verb.Run(ctx, rest)
}

// check refuses options that do not go together.
func (h *helper) check() error {
	usage := func(text string) error { return &cli.UsageError{Text: text} }
	if h.request.Digest != "" {
		for extra, on := range h.extras {
			if on {
				return usage(fmt.Sprintf("A digest proves the image alone; the file '%s' beside it cannot be fetched.", extra))
			}
		}
	}
	switch {
	case h.offset != nil && !h.direct:
		return usage("--offset= only goes together with --direct.")
	case h.zeroFill && (h.offset == nil || h.request.SizeMax == 0):
		return usage("--zero-fill= needs both --offset= and --size-max=.")
	}
	return nil
}

// places are where images are looked for and put.
func (h *helper) places() (images.Locations, error) {
	if h.scope == userScope {
		return images.UserLocations()
	}
	system := images.SystemLocations("")
	if h.scope == systemScope {
		return system, nil
	}
	// Nothing was said: an image of the user has its name too.
	if user, err := images.UserLocations(); err == nil {
		for class, dirs := range user.Search {
			system.Search[class] = append(system.Search[class], dirs...)
		}
	}
	return system, nil
}

// do carries out the request.
func (h *helper) do(ctx context.Context) error {
	err := importd.Do(ctx, importd.Config{
		Locations: h.locations, UserAgent: h.program.name + "/" + h.buildInfo,
		NoSync: h.noSync, NoSubvolumes: h.noSubvolumes, User: h.scope == userScope, Foreign: nsresource.Client{},
		Logger: slog.New(slog.DiscardHandler),
	}, h.request, h.reporter())
	if err == nil {
		h.log(importd.PriorityInfo, "Operation completed successfully.")
	}
	return err
}

// into sets the target of a direct transfer. A relative path is below the image
// root; "-" is standard output, for disks.
func (h *helper) into(name string) error {
	h.request.Direct = &importd.Direct{Offset: h.offset, ZeroFill: h.zeroFill}
	if name == "" || name == "-" {
		if console.IsTerminal(h.Stdout) {
			return errors.New("standard output is a terminal: name a file to write to, or a pipe")
		}
		h.request.Direct.Output = h.Stdout
		return nil
	}
	if !filepath.IsAbs(name) {
		root := h.request.ImageRoot
		if root == "" {
			root = h.locations.Pool[h.request.Class]
		}
		name = filepath.Join(root, name)
	}
	h.request.Direct.Path = filepath.Clean(name)
	return nil
}

// openSource opens what is imported; "-" is standard input.
func (h *helper) openSource(path string, flags int) (*os.File, error) {
	if path == "" || path == "-" {
		return h.Stdin, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open what to import: %w", err)
	}
	return f, nil
}

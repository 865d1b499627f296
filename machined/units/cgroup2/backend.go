package cgroup2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/units/unitpath"
)

const slice = "machine.slice"

// Backend is [machined.Units] on the cgroup v2 tree.
type Backend struct {
	tree  Hierarchy
	base  string // cgroup path of the slice's parent
	slice string // directory of the slice
	log   *slog.Logger

	mu       sync.Mutex
	groups   map[string]*group // by directory
	byWatch  map[int32]*group
	watchers map[int]func(string)
	next     int

	inotify *os.File
	wg      sync.WaitGroup
}

var _ machined.Units = (*Backend)(nil)

// Options are where and how. The zero value is right for a daemon.
type Options struct {
	// Base is the cgroup under which machine.slice is made, "" means the root of
	// the tree. It must exist.
	Base   string
	Logger *slog.Logger
}

// New finds the cgroup v2 tree, makes machine.slice in it and watches the units
// that are there; empty ones are removed. The error wraps [ErrUnavailable] if
// there is no tree that can be written to.
func New(options Options) (*Backend, error) {
	tree, err := Find()
	if err != nil {
		return nil, err
	}
	base := path.Clean("/" + options.Base)
	if options.Base == "" {
		base = tree.Root
	}
	dir, ok := tree.dir(base)
	if !ok {
		return nil, fmt.Errorf("find cgroup %s: %w: it is not below %s", base, ErrUnavailable, tree.Root)
	}
	b := &Backend{
		tree: tree, base: base, slice: filepath.Join(dir, slice), log: options.Logger,
		groups: map[string]*group{}, byWatch: map[int32]*group{}, watchers: map[int]func(string){},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if err := makeGroup(b.slice); err != nil {
		return nil, fmt.Errorf("make %s: %w: %w", b.slice, ErrUnavailable, err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	b.inotify = os.NewFile(uintptr(fd), "inotify of cgroups")
	b.wg.Go(b.watch)
	if err := b.adopt(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return unix.Access(dir, unix.W_OK)
}

// adopt watches the units that an earlier run left.
func (b *Backend) adopt() error {
	entries, err := os.ReadDir(b.slice)
	if err != nil {
		return fmt.Errorf("look for units: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || !strings.HasPrefix(name, "machine-") || !strings.HasSuffix(name, ".scope") {
			continue
		}
		g, err := b.watchGroup(filepath.Join(b.slice, name), true)
		if err != nil {
			b.log.Warn("cannot watch a unit", "unit", name, "error", err)
			continue
		}
		b.check(g)
	}
	return nil
}

// Close implements [machined.Units].
func (b *Backend) Close() error {
	err := b.inotify.Close()
	b.wg.Wait()
	if err != nil {
		return fmt.Errorf("end watch of cgroups: %w", err)
	}
	return nil
}

// UnitOf implements [machined.Units]. On hybrid hosts the unit may be told by
// the service manager's own tree.
func (b *Backend) UnitOf(_ context.Context, pid int) (machined.Unit, error) {
	unified, named, err := unitpath.Cgroups(pid)
	if err != nil {
		return machined.Unit{}, err
	}
	if rest, ok := strings.CutPrefix(unified, strings.TrimSuffix(b.base, "/")+"/"); ok {
		if unit, ok := unitpath.Split(rest); ok {
			unit.Cgroup = path.Join(b.base, unit.Cgroup)
			return unit, nil
		}
	}
	for _, cgroup := range []string{unified, named} {
		if unit, ok := unitpath.Split(cgroup); ok {
			return unit, nil
		}
	}
	return machined.Unit{}, nil
}

// dirOf is the directory of a unit; its own slice is where units are whose
// place is not known, such as those of a state file of the stock daemon.
func (b *Backend) dirOf(unit machined.Unit) (string, error) {
	if unit.Cgroup == "" {
		if unit.Name == "" || strings.Contains(unit.Name, "/") {
			return "", fmt.Errorf("find cgroup of unit %q: %w", unit.Name, machined.ErrInvalidArgument)
		}
		return filepath.Join(b.slice, unit.Name), nil
	}
	dir, ok := b.tree.dir(unit.Cgroup)
	if !ok || dir == b.tree.Mount {
		return "", fmt.Errorf("find cgroup %q of unit %s: %w", unit.Cgroup, unit.Name, machined.ErrInvalidArgument)
	}
	return dir, nil
}

// unit is the value for a unit of our own.
func (b *Backend) unit(name string) machined.Unit {
	return machined.Unit{Name: name, Cgroup: path.Join(b.base, slice, name)}
}

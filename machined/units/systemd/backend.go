package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/godbus/dbus/v5"

	"berth/machined"
	"berth/machined/units/unitpath"
)

// ErrUnavailable means that no service manager answers on the bus.
var ErrUnavailable = errors.New("no service manager on the system bus")

// slice is where units are made.
const slice = "machine.slice"

// Backend is [machined.Units] by the service manager.
type Backend struct {
	address string
	log     *slog.Logger

	ctx    context.Context //nolint:containedctx // its end is Close, not a call's
	cancel context.CancelFunc
	wg     sync.WaitGroup

	names names       // units that are being made or killed
	byPID atomic.Bool // the service manager does not take pidfds

	mu      sync.Mutex
	manager *manager      // nil while there is none
	changed chan struct{} // closed and replaced when manager changes
	lastErr error         // why there is none
	root    string        // cgroup path of the service manager's tree, "" for the root
	adopted bool
	jobs    jobs
	byName  map[string]*unit          // that have not ended
	byPath  map[dbus.ObjectPath]*unit // that are loaded

	watchers map[int]func(string)
	next     int
}

var (
	_ machined.Units        = (*Backend)(nil)
	_ machined.ImageStarter = (*Backend)(nil)
)

// Options are where and how.
type Options struct {
	Address string // of the bus
	Logger  *slog.Logger
}

// New connects to the bus and finds the units that an earlier run left. The
// error wraps [ErrUnavailable] if no service manager answers.
func New(ctx context.Context, options Options) (*Backend, error) {
	b := &Backend{
		address: options.Address, log: options.Logger, changed: make(chan struct{}),
		jobs:   newJobs(),
		byName: map[string]*unit{}, byPath: map[dbus.ObjectPath]*unit{}, watchers: map[int]func(string){},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.wg.Go(b.run)
	if _, err := b.find(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close implements [machined.Units].
func (b *Backend) Close() error {
	b.cancel()
	b.wg.Wait()
	return nil
}

// UnitOf implements [machined.Units].
func (b *Backend) UnitOf(_ context.Context, pid int) (machined.Unit, error) {
	unified, named, err := unitpath.Cgroups(pid)
	if err != nil {
		return machined.Unit{}, err
	}
	b.mu.Lock()
	root := b.root
	b.mu.Unlock()
	for _, cgroup := range []string{unified, named} {
		rest, ok := strings.CutPrefix(cgroup, root+"/")
		if !ok {
			continue
		}
		if unit, ok := unitpath.Split(rest); ok {
			unit.Cgroup = path.Join("/", root, unit.Cgroup)
			return unit, nil
		}
	}
	return machined.Unit{}, nil
}

// Watch implements [machined.Units].
func (b *Backend) Watch(f func(unit string)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.next
	b.next++
	b.watchers[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	}
}

// checkName refuses what no unit is called.
func checkName(name string) error {
	if strings.Contains(name, "/") || !unitpath.IsUnit(name) {
		return fmt.Errorf("%w: %q is no name of a unit", machined.ErrInvalidArgument, name)
	}
	return nil
}

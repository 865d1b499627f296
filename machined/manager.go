package machined

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"berth/machined/apart"
	"berth/machined/runner"
)

// Config says where a Manager keeps what and on what it works. Zero values mean
// the defaults named here.
type Config struct {
	StateDir string // default /run/systemd/machines
	// RunDir is for what only we need: notification sockets. Default /run/berth.
	RunDir string
	// LogDir is where the output of started machines goes. Default /run/berth/log.
	LogDir string
	// LogSize is how large the log of one machine may become, in bytes; then the
	// older half is dropped. Default 1 MiB.
	LogSize int64
	// StopGrace is the time between asking a machine to end and killing it.
	// Default 15 s.
	StopGrace time.Duration
	// Units is the backend that groups processes, nil if this host has none. The
	// Manager does not close it.
	Units Units
	// Commands runs commands in machines; default in the machine's control group, as
	// children of this process.
	Commands Commands
	Images   ImageStore    // nil: no image verbs and no Start
	Runner   runner.Runner // nil: no Start
	// Host adds the machine ".host".
	Host   bool
	Logger *slog.Logger
	// OnEvent, if set, is subscribed before the state directory is loaded, so
	// that it also hears of machines that ended while no daemon ran.
	OnEvent func(Event)
}

func (c Config) withDefaults() Config {
	setDefault(&c.StateDir, "/run/systemd/machines")
	setDefault(&c.RunDir, "/run/berth")
	setDefault(&c.LogDir, "/run/berth/log")
	setDefault(&c.LogSize, 1<<20)
	setDefault(&c.StopGrace, 15*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Manager is the registry of machines. Its methods may be called at any time
// from any goroutine.
type Manager struct {
	config Config
	log    *slog.Logger
	units  Units
	dir    stateDir
	watch  *processWatch
	events broadcaster
	host   Machine  // of [HostName]
	gone   []string // see Gone; New is done with it

	mu       sync.Mutex
	closed   bool
	table    table
	reserved map[string]struct{} // names of machines that are being made
	runs     map[string]*run     // machines that were started here
	logs     *runLogs            // nil without a runner

	operations chan struct{} // a token for each operation under way
	apart      *apart.Crew

	// Work that goes on after a call returned.
	ctx        context.Context //nolint:containedctx // its end is Close, not a call's
	cancel     context.CancelFunc
	background sync.WaitGroup
	unwatch    func()
}

// New loads the state directory and watches the machines that are alive.
func New(config Config) (*Manager, error) {
	config = config.withDefaults()
	dir, err := openStateDir(config.StateDir)
	if err != nil {
		return nil, err
	}
	watch, err := newProcessWatch(config.Logger)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		config: config, log: config.Logger, dir: dir, watch: watch, table: newTable(), host: hostMachine(),
		reserved: map[string]struct{}{}, runs: map[string]*run{}, units: config.Units, operations: make(chan struct{}, maxOperations),
		apart: apart.NewCrew(),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if m.units == nil {
		m.log.Warn("no cgroup2 tree and no service manager: machines get no unit, signals go to single processes")
		m.units = noUnits{watch: watch}
	}
	m.unwatch = m.units.Watch(m.unitEnded)
	if config.OnEvent != nil {
		m.Subscribe(config.OnEvent)
	}
	if config.Runner != nil {
		if m.logs, err = openRunLogs(config.LogDir, config.LogSize, m.log); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	if err := m.reconcile(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Close ends what the Manager does. Machines and their state files stay, for
// the next Manager to find.
func (m *Manager) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.cancel()
	m.unwatch()
	m.background.Wait()
	err := m.watch.close()
	m.events.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.table.byName {
		err = errors.Join(err, e.close())
	}
	for _, r := range m.runs {
		err = errors.Join(err, r.close())
	}
	if m.logs != nil {
		err = errors.Join(err, m.logs.close())
	}
	m.table, m.runs = newTable(), nil
	if err != nil {
		return fmt.Errorf("close manager: %w", err)
	}
	return nil
}

// Subscribe calls f for every change of the table from now on, in order and on
// one goroutine. A slow f delays nobody; see [EventLost].
func (m *Manager) Subscribe(f func(Event)) (cancel func()) { return m.events.subscribe(f) }

func (m *Manager) notifyDir() string { return filepath.Join(m.config.RunDir, "notify") }

func validSignal(sig syscall.Signal) error {
	if sig < 1 || sig > 64 {
		return fmt.Errorf("%w: signal %d", ErrInvalidArgument, int(sig))
	}
	return nil
}

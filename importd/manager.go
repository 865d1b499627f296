package importd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"berth/images"
	"berth/images/foreign"
)

// MaxTransfers is how many transfers run at once.
const MaxTransfers = 64

// DefaultSizeMax is the largest image that is taken, in bytes, both as it comes
// and unpacked.
const DefaultSizeMax = 64 << 30

// killAfter is the number of cancels from which the worker is killed.
const killAfter = 4

// DefaultPatience is how long a transfer that has to end may clean up.
const DefaultPatience = 20 * time.Second

// Config is what a [Manager] needs to know of its host.
type Config struct {
	Locations images.Locations
	UserAgent string
	// User is for images of one user instead of the system's.
	User bool
	// Foreign are the services for trees of a user whose files belong to many; nil
	// means that this host has none. [WorkerMain] needs them as well.
	Foreign foreign.Services
	// NoSync leaves out waiting for the disk before an image is published.
	NoSync bool
	// NoSubvolumes makes plain directories of trees, on btrfs too.
	NoSubvolumes bool
	// SizeMax bounds an image; 0 means [DefaultSizeMax].
	SizeMax int64
	// Patience is how long a transfer that has to end, with its daemon or the context
	// of [Do], may take to remove what it made before it is killed; 0 means
	// [DefaultPatience]. What a killed one leaves is swept.
	Patience time.Duration
	Logger   *slog.Logger
}

// Manager owns the transfers.
type Manager struct {
	config Config

	mu            sync.Mutex
	transfers     map[uint32]*Transfer
	lastID        uint32
	subscriptions map[*Subscription]struct{}
	closed        bool
	running       sync.WaitGroup
}

// New makes a manager and removes what transfers of an earlier daemon left
// behind.
func New(ctx context.Context, config Config) *Manager {
	m := &Manager{
		config:        config,
		transfers:     map[uint32]*Transfer{},
		subscriptions: map[*Subscription]struct{}{},
	}
	for _, class := range images.Classes() {
		if root := config.Locations.Pool[class]; root != "" {
			m.config.sweep(ctx, root, "")
		}
	}
	return m
}

// Start begins a transfer. A pull of a URL that is being pulled is refused with
// [ErrInProgress]. The manager owns r.File from here on, whatever is returned.
func (m *Manager) Start(r Request) (*Transfer, error) {
	t, _, err := m.begin(r, refuse)
	return t, err
}

// begin begins a transfer, or does what repeated says about a pull of a URL that
// is being pulled. It closes the daemon's copy of the request's file.
func (m *Manager) begin(r Request, repeated repetition) (t *Transfer, joined bool, err error) {
	if r.File != nil {
		defer func() { err = errors.Join(err, r.File.Close()) }()
	}
	if err := errors.Join(r.checkFile(), r.refuseDirect()); err != nil {
		return nil, false, err
	}
	if err := r.settle(m.config); err != nil {
		return nil, false, err
	}
	if err := r.preparePool(m.config.Locations); err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, false, errors.New("start a transfer: the daemon is ending")
	}
	rivals := m.rivals(&r)
	if len(rivals) > 0 {
		if t, err = repeated(rivals, &r); t != nil || err != nil {
			return t, t != nil, err
		}
	}
	if len(m.transfers) >= MaxTransfers {
		return nil, false, fmt.Errorf("start a transfer: %w: %d are under way: %w", ErrTooMany, len(m.transfers), syscall.E2BIG)
	}
	t, err = m.enter(r, rivals)
	return t, false, err
}

// enter starts the worker of a new transfer, or lets it wait for its rivals. It
// needs m.mu.
func (m *Manager) enter(r Request, rivals []*Transfer) (*Transfer, error) {
	t := &Transfer{id: m.lastID + 1, progress: ProgressUnknown, done: make(chan struct{})}
	t.request = r
	t.request.File = nil
	if len(rivals) == 0 {
		if err := m.launch(t, r); err != nil {
			return nil, err
		}
	}
	m.lastID = t.id
	m.transfers[t.id] = t
	m.publish(Event{Kind: EventNew, Transfer: t.Info()})
	if len(rivals) > 0 {
		m.tell(t, LogLine{PriorityNotice, fmt.Sprintf("Waiting for transfer %d, which pulls the same URL.", rivals[0].id)})
	}
	return t, nil
}

// launch starts the worker of a transfer. It needs m.mu, which also keeps back
// what the worker says until the transfer is known.
func (m *Manager) launch(t *Transfer, r Request) error {
	w, err := startWorker(m.config.job(r))
	if err != nil {
		return fmt.Errorf("start a worker for %s: %w", r.Kind, err)
	}
	t.worker = w
	m.running.Go(func() { m.watch(t, w) })
	return nil
}

func (c *Config) job(r Request) job {
	return job{
		Request: r, Locations: c.Locations, UserAgent: c.UserAgent, User: c.User,
		NoSync: c.NoSync, NoSubvolumes: c.NoSubvolumes, SizeMax: cmp.Or(c.SizeMax, DefaultSizeMax),
	}
}

// watch lives as long as a worker and publishes what it says.
func (m *Manager) watch(t *Transfer, w *worker) {
	err := w.follow(func(msg message) { m.relay(t, msg) })
	m.config.clearUp(context.Background(), &t.request, w.pending, err != nil)
	switch {
	case err != nil && t.canceled():
		err = ErrCanceled
	case err != nil:
		m.relay(t, message{Log: &LogLine{PriorityError, err.Error()}})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(t, err)
	m.advance(&t.request)
}

// remove ends a transfer. It needs m.mu.
func (m *Manager) remove(t *Transfer, err error) {
	t.err = err
	delete(m.transfers, t.id)
	m.publish(Event{Kind: EventRemoved, Transfer: t.Info(), Err: err})
	close(t.done)
}

func (m *Manager) relay(t *Transfer, msg message) {
	e := Event{}
	switch {
	case msg.Progress != nil:
		t.setProgress(*msg.Progress)
		e.Kind = EventProgress
	case msg.Log != nil:
		e.Kind, e.Log = EventLog, *msg.Log
		m.log(t, e.Log)
	default:
		return
	}
	e.Transfer = t.Info()
	m.mu.Lock()
	m.publish(e)
	m.mu.Unlock()
}

// tell says something of the manager's own about a transfer. It needs m.mu.
func (m *Manager) tell(t *Transfer, line LogLine) {
	m.log(t, line)
	m.publish(Event{Kind: EventLog, Transfer: t.Info(), Log: line})
}

func (m *Manager) log(t *Transfer, line LogLine) {
	logAt(m.config.Logger, line.Priority)(line.Message, "transfer", t.id)
}

// logAt picks the method of the logger for a syslog level.
func logAt(l *slog.Logger, priority int) func(msg string, args ...any) {
	switch {
	case priority <= PriorityError:
		return l.Error
	case priority == PriorityWarning:
		return l.Warn
	case priority <= PriorityInfo:
		return l.Info
	}
	return l.Debug
}

// publish needs m.mu, which also keeps the events of all transfers in order.
func (m *Manager) publish(e Event) {
	for s := range m.subscriptions {
		s.publish(e)
	}
}

// Subscribe returns the events of all transfers from now on.
func (m *Manager) Subscribe() *Subscription {
	s := &Subscription{wake: make(chan struct{}, 1)}
	s.cancel = func() {
		m.mu.Lock()
		delete(m.subscriptions, s)
		m.mu.Unlock()
	}
	m.mu.Lock()
	m.subscriptions[s] = struct{}{}
	m.mu.Unlock()
	return s
}

// List returns the transfers under way, oldest first.
func (m *Manager) List() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Info, 0, len(m.transfers))
	for _, t := range m.transfers {
		list = append(list, t.Info())
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Find returns one transfer, or [ErrNoSuchTransfer].
func (m *Manager) Find(id uint32) (*Transfer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(id)
}

func (m *Manager) find(id uint32) (*Transfer, error) {
	t, ok := m.transfers[id]
	if !ok {
		return nil, fmt.Errorf("transfer %d: %w", id, ErrNoSuchTransfer)
	}
	return t, nil
}

// Cancel asks a transfer to end and remove what it made. It does not wait. A
// transfer that was asked [killAfter] times is killed; one that has not begun is
// over at once.
func (m *Manager) Cancel(id uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(id)
	if err != nil {
		return err
	}
	if t.worker == nil {
		m.remove(t, ErrCanceled)
		return nil
	}
	sig := syscall.SIGTERM
	if t.cancel() >= killAfter {
		sig = syscall.SIGKILL
	}
	if err := t.worker.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cancel transfer %d: %w", id, err)
	}
	return nil
}

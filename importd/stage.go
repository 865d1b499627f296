package importd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"berth/images"
	"berth/images/btrfs"
	"berth/images/foreign"
	"berth/importd/cage"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// stage is the worker's side: one job in a process of its own.
type stage struct {
	job
	store  *images.Store
	report *reporter
	// keyrings are the files with the keys whose signatures count, looked up for
	// each transfer: a key that was installed a moment ago counts.
	keyrings    []string
	keyringsErr error
	// control is kept open by the worker's children too, so that the daemon
	// sees when the last of them is gone.
	control *os.File
	// trees works on trees of the foreign range; foreign says that this transfer makes one.
	trees   *foreign.User
	foreign bool
}

// errDaemonGone ends a worker whose daemon died: nobody would learn of the end.
var errDaemonGone = errors.New("the daemon is gone")

// WorkerMain is the main function of a process named [WorkerName]; it returns
// the exit status. The services are for trees of a user whose files belong to
// many; nil means that this host has none.
func WorkerMain(services foreign.Services) int {
	control := os.NewFile(controlFD, "control")
	if control == nil {
		fmt.Fprintln(os.Stderr, "this program is started by importd only")
		return 2
	}
	s := &stage{report: &reporter{out: control}, control: control}
	decoder := json.NewDecoder(control)
	if err := decoder.Decode(&s.job); err != nil {
		fmt.Fprintf(os.Stderr, "read the job: %v\n", err)
		return 2
	}
	s.store = images.NewStore(s.Locations)
	s.trees = (&Config{User: s.User, Foreign: services}).trees(control)

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		// The daemon says nothing more; the end of the stream is its death.
		_, _ = io.Copy(io.Discard, control)
		cancel(errDaemonGone)
	}()
	// Whoever reads an export may leave; that is an error to tell, not a death.
	signal.Ignore(syscall.SIGPIPE)
	unix.Umask(0o022)
	if err := s.run(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", s.Request.Kind, context.Cause(ctx))
		}
		s.report.send(message{Failure: failureOf(err)})
		return 1
	}
	return 0
}

func (s *stage) run(ctx context.Context) error {
	switch {
	case s.Request.Kind.Pull():
		return s.pull(ctx)
	case s.Request.Kind.Export():
		return s.export(ctx)
	}
	return s.importFile(ctx)
}

// hostPrograms are the places a confined process may read and run programs
// from: decompressors of the host.
var hostPrograms = []string{"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// imageCapabilities are what it takes to make a tree of somebody else's files.
var imageCapabilities = []cap.Value{
	cap.CHOWN, cap.FOWNER, cap.FSETID, cap.MKNOD, cap.SETFCAP,
	cap.DAC_OVERRIDE, cap.DAC_READ_SEARCH,
}

// publishCapabilities are for the process that installs images: besides, it sets
// immutable flags, and on btrfs it deletes subvolumes, which takes CAP_SYS_ADMIN.
func (s *stage) publishCapabilities(place string) []cap.Value {
	keep := append([]cap.Value{cap.LINUX_IMMUTABLE}, imageCapabilities...)
	root, err := os.Open(place)
	if err != nil {
		return keep
	}
	defer root.Close()
	if btrfs.IsBtrfs(root) {
		keep = append(keep, cap.SYS_ADMIN)
	}
	return keep
}

// writable are the directories in which a worker that publishes works: the image
// root, and the locks that it shares with systemd-nspawn.
func (s *stage) writable() []string {
	dirs := []string{s.Request.ImageRoot}
	if locks := s.Locations.Locks; locks != "" && os.MkdirAll(locks, 0o700) == nil {
		dirs = append(dirs, locks)
	}
	return dirs
}

// enterCage confines this process for the rest of its life.
func (s *stage) enterCage(rules cage.Rules) error {
	rules.Read = append(rules.Read, hostPrograms...)
	missing, err := cage.Enter(rules)
	if err != nil {
		return fmt.Errorf("confine the worker: %w", err)
	}
	if len(missing) > 0 {
		s.report.log(PriorityWarning, "This kernel cannot confine the transfer fully; missing: %s", missing)
	}
	return nil
}

// prepareRoot refuses a name that is taken and makes the image root. A direct
// transfer has neither.
func (s *stage) prepareRoot(ctx context.Context) error {
	if s.Request.Direct != nil {
		return nil
	}
	if err := s.exists(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Request.ImageRoot, 0o755); err != nil {
		return fmt.Errorf("make the image root: %w", err)
	}
	return nil
}

// destination is where the image goes, for people.
func (s *stage) destination() string {
	switch d := s.Request.Direct; {
	case d == nil:
		return s.Request.Local
	case d.Path == "":
		return "standard output"
	default:
		return d.Path
	}
}

// exists refuses a name that is taken, before anything is spent on it.
func (s *stage) exists(ctx context.Context) error {
	if s.Request.Local == NoLocal {
		return nil
	}
	if s.Request.Force {
		// Taken again when the image is replaced; a long download for an image that
		// is in use would be in vain.
		release, err := s.lockReplaced(ctx)
		return errors.Join(err, release())
	}
	found, err := s.store.Find(ctx, s.Request.Class, s.Request.Local)
	switch {
	case errors.Is(err, images.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("image %q exists already at %s: %w", s.Request.Local, found.Path, unix.EEXIST)
}

// progressEvery is how often a running transfer says how far it is.
const progressEvery = 100 * time.Millisecond

// sample reports progress until stop is called: done out of total, as a share
// of the range from 0 to upTo. Nothing is said while total is not positive.
func (s *stage) sample(done func() int64, total func() int64, upTo float64) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		last := -1.0
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
			whole := total()
			if whole <= 0 {
				continue
			}
			share := min(float64(done())/float64(whole), 1) * upTo
			if share-last >= 0.001 {
				last = share
				s.report.progress(share)
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// offset tells how far a shared file has been read; children that read it move
// the same offset.
func offset(f *os.File) func() int64 {
	return func() int64 {
		at, err := unix.Seek(int(f.Fd()), 0, io.SeekCurrent)
		if err != nil {
			return 0
		}
		return at
	}
}

// constant is a total that does not change.
func constant(n int64) func() int64 { return func() int64 { return n } }

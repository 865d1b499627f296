package importd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"berth/importd/cage"
	"berth/transfer/verify"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// stderrMax is how much of a worker's last words is kept: a Go trace begins
// with what matters.
const stderrMax = 8 << 10

// worker is the daemon's side of a worker process.
type worker struct {
	process *os.Process
	control *os.File
	stderr  *os.File
	// pending is the temporary name of the image that it makes; to be read when it is gone.
	pending string
}

// startWorker starts this binary anew as a worker. The files of the request become
// its standard input and output. It leads a process group, so that its children
// can be ended with it.
func startWorker(j job) (_ *worker, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("write job: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	stderr, theirStderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	defer func() { err = errors.Join(err, theirStderr.Close()) }()

	stdin, stdout := j.Request.streams(null)
	process, err := startConfined(workerCapabilities, []string{WorkerName}, &os.ProcAttr{
		Env:   workerEnvironment(os.Environ()),
		Files: []*os.File{stdin, stdout, theirStderr, theirs},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Cloneflags: namespacesOf(j.Request)},
	})
	if err != nil {
		return nil, errors.Join(err, ours.Close(), stderr.Close())
	}
	w := &worker{process: process, control: ours, stderr: stderr}
	if _, err := ours.Write(append(text, '\n')); err != nil {
		w.kill()
		_, waitErr := process.Wait()
		return nil, errors.Join(fmt.Errorf("hand over the job: %w", err), waitErr, ours.Close(), stderr.Close())
	}
	return w, nil
}

// streams returns what a worker reads and writes; null is the null device.
func (r *Request) streams(null *os.File) (stdin, stdout *os.File) {
	stdin, stdout = null, null
	switch {
	case r.Kind.Export():
		stdout = r.File
	case r.File != nil:
		stdin = r.File
	}
	if r.Direct != nil {
		stdout = r.Direct.Output
	}
	return stdin, stdout
}

// workerCapabilities are what any worker keeps, makes namespaces with, and needs to
// drop the rest. unpackerCapabilities are less: each one that is left to drop in the
// cage halts all threads of the process.
var (
	workerCapabilities   = append([]cap.Value{cap.LINUX_IMMUTABLE, cap.SYS_ADMIN, cap.SETPCAP}, imageCapabilities...)
	unpackerCapabilities = append([]cap.Value{cap.SETPCAP}, imageCapabilities...)
)

// startConfined starts this binary anew, with no more than keep. Where the host does not let us make
// namespaces, the child goes without: its cage refuses it the network all the same.
func startConfined(keep []cap.Value, argv []string, attr *os.ProcAttr) (process *os.Process, err error) {
	const self = "/proc/self/exe"
	attr.Dir = "/"
	err = cage.Bound(keep, func() (err error) {
		process, err = os.StartProcess(self, argv, attr)
		if errors.Is(err, syscall.EPERM) && attr.Sys.Cloneflags != 0 {
			attr.Sys.Cloneflags = 0
			process, err = os.StartProcess(self, argv, attr)
		}
		return err
	})
	return process, err
}

// namespacesOf gives a network of its own, which leads nowhere, to everything
// that does not fetch.
func namespacesOf(r Request) uintptr {
	if os.Geteuid() == 0 && (!r.Kind.Pull() || strings.HasPrefix(r.Remote, "file:")) {
		return unix.CLONE_NEWNET
	}
	return 0
}

// workerEnvironment passes on what a fetch listens to and nothing else.
func workerEnvironment(all []string) []string {
	var out []string
	for _, e := range all {
		name, _, _ := strings.Cut(e, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir",
			strings.ToLower(verify.KeyringVariable):
			out = append(out, e)
		}
		// What concerns a test binary, which stands in for the daemon's.
		if strings.HasPrefix(name, "BERTH_TEST_") || name == "GOCOVERDIR" || name == "GORACE" {
			out = append(out, e)
		}
	}
	// A worker's memory is bounded buffers; a heap that doubles before it is
	// collected would be most of what it uses.
	return append(out, "GOGC=50", "GODEBUG=madvdontneed=1")
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// follow calls each for every message of the worker and returns why it failed.
// When it returns, the worker and all its children are gone.
func (w *worker) follow(each func(message)) error {
	lastWords := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(w.stderr, stderrMax))
		_, _ = io.Copy(io.Discard, w.stderr)
		lastWords <- string(text)
	}()
	said := make(chan *Failure, 1)
	go func() {
		var failure *Failure
		err := messages(w.control, func(m message) {
			switch {
			case m.Failure != nil:
				failure = m.Failure
			case m.Pending != "":
				w.pending = m.Pending
			}
			each(m)
		})
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			failure = failureOf(err)
			_, _ = io.Copy(io.Discard, w.control)
		}
		said <- failure
	}()
	// While the worker is not reaped its process group cannot be another's.
	waitErr := unix.Waitid(unix.P_PID, w.process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	w.kill()
	state, err := w.process.Wait()
	err = errors.Join(err, ignoreEINTR(waitErr))
	// The children hold the control stream too: its end is the end of all.
	failure, words := <-said, <-lastWords
	err = errors.Join(err, w.control.Close(), w.stderr.Close())
	switch {
	case err != nil:
		return fmt.Errorf("wait for the worker: %w", err)
	case failure != nil:
		return failure
	case state.Success():
		return nil
	}
	text := "worker ended: " + state.String()
	if words = strings.TrimSpace(words); words != "" {
		text += ": " + words
	}
	return &Failure{Text: text}
}

// ignoreEINTR: an interrupted wait only means that the next one waits.
func ignoreEINTR(err error) error {
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// end asks the worker to clean up and end, and kills it if it has not ended after a
// while. stop is to be called when it has ended.
func (w *worker) end(patience time.Duration) (stop func()) {
	_ = w.process.Signal(syscall.SIGTERM) // ended already: nothing to do
	timer := time.AfterFunc(patience, func() { _ = w.process.Kill() })
	return func() { timer.Stop() }
}

// kill ends the worker's process group.
func (w *worker) kill() {
	_ = unix.Kill(-w.process.Pid, unix.SIGKILL) // none left: that is the aim
}

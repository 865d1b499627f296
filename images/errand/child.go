package errand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphanLimit is how long a process may clean up that nobody is left to kill.
const orphanLimit = 10 * time.Second

// Receive is called by the process: it returns what is asked for, and a context
// that ends when the answer is not wanted any more.
func Receive(request any) (context.Context, error) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, fmt.Errorf("limit resources: %w", err)
	}
	if err := json.NewDecoder(os.Stdin).Decode(request); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it
		cancel()
		time.Sleep(orphanLimit)
		os.Exit(1)
	}()
	return ctx, nil
}

// File is one of the files that the process was given, counted from 0.
func File(n int) *os.File {
	const first = 3 // after standard input, output and error
	return os.NewFile(uintptr(first+n), "file "+strconv.Itoa(n))
}

// reply is what the process writes.
type reply struct {
	Answer  json.RawMessage `json:",omitempty"`
	Failure *failure        `json:",omitempty"`
}

// Reply is called by the process, once, with the answer or an error. The result
// is the exit status.
func Reply(answer any, err error, known ...error) int {
	var r reply
	if err == nil {
		r.Answer, err = json.Marshal(answer)
	}
	if err != nil {
		r = reply{Failure: fail(err, known)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// failure is an error on its way from one process to another.
type failure struct {
	Text  string
	Errno syscall.Errno `json:",omitempty"`
	Known []int         `json:",omitempty"`
}

func fail(err error, known []error) *failure {
	f := &failure{Text: err.Error()}
	f.Errno, _ = errors.AsType[syscall.Errno](err)
	for i, one := range known {
		if errors.Is(err, one) {
			f.Known = append(f.Known, i)
		}
	}
	return f
}

// of gives the error back the identities that it had.
func (f *failure) of(known []error) error {
	e := &passed{text: f.Text}
	if f.Errno != 0 {
		e.is = append(e.is, f.Errno)
	}
	for _, i := range f.Known {
		if i >= 0 && i < len(known) {
			e.is = append(e.is, known[i])
		}
	}
	return e
}

// passed is an error of another process.
type passed struct {
	text string
	is   []error
}

func (p *passed) Error() string   { return p.text }
func (p *passed) Unwrap() []error { return p.is }

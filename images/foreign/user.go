package foreign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Name is argument 0 of the process that works for a [User]. A program that uses one begins its main with a call of
// [Main] if it is called so.
const Name = "berth-foreign-trees"

// channelPlace is where that process finds its channel.
const channelPlace = 3

// grace is how long the process may take to stop what it was doing.
const grace = 10 * time.Second

// User works on the trees of the user who runs this program. A nil User has no services: everything is
// [ErrUnavailable].
type User struct {
	services Services
	holds    []*os.File

	mu   sync.Mutex
	held *asked // nil unless Hold was called
}

// NewUser returns one that asks these services. Its processes hold the given files until they end.
func NewUser(s Services, holds ...*os.File) *User {
	if s == nil {
		return nil
	}
	return &User{services: s, holds: holds}
}

// Make makes the top of a tree in a directory of the user's. It is empty, open for reading and has the mode 0755.
func (u *User) Make(ctx context.Context, parent *os.File, name string) (*os.File, error) {
	if u == nil {
		return nil, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f, err := u.services.MakeDirectory(ctx, parent, name)
	if err != nil {
		return nil, fmt.Errorf("make the tree %s/%s: %w", parent.Name(), name, err)
	}
	return f, nil
}

// Start starts this program in a namespace, as the function of that name does.
func (u *User) Start(ctx context.Context, argv []string, attr os.ProcAttr, place int) (*Process, error) {
	if u == nil {
		return nil, ErrUnavailable
	}
	return Start(ctx, u.services, argv, attr, place)
}

// Empty removes everything below the top of a tree.
func (u *User) Empty(ctx context.Context, tree *os.File) error {
	return u.work(ctx, message{Verb: verbEmpty}, tree)
}

// Ready does all that it takes to empty a tree, but for that: what is missing shows before anything is changed. done must
// be called.
func (u *User) Ready(ctx context.Context, tree *os.File) (empty func(context.Context) error, done func() error, err error) {
	if u == nil {
		return nil, nil, ErrUnavailable
	}
	a, err := u.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	mount, err := a.Mount(ctx, tree)
	if err != nil {
		return nil, nil, errors.Join(err, a.end())
	}
	empty = func(ctx context.Context) error { return a.ask(ctx, message{Verb: verbEmpty}, []*os.File{mount}) }
	return empty, func() error { return errors.Join(mount.Close(), a.end()) }, nil
}

// Copy copies what is in a tree, and its metadata, to another that is empty.
func (u *User) Copy(ctx context.Context, from, to *os.File) error {
	return u.work(ctx, message{Verb: verbCopy}, from, to)
}

// Note sets extended attributes of the top of a tree.
func (u *User) Note(ctx context.Context, tree *os.File, notes map[string]string) error {
	return u.work(ctx, message{Verb: verbNote, Notes: notes}, tree)
}

// Hold starts the process that works from now on, until [User.Release]: for a caller that will not be able to start
// another. Calls wait for each other then.
func (u *User) Hold(ctx context.Context) error {
	if u == nil {
		return ErrUnavailable
	}
	a, err := u.start(ctx)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held = a
	return nil
}

// Release ends the process of [User.Hold], if there is one.
func (u *User) Release() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held == nil {
		return nil
	}
	err := u.held.end()
	u.held = nil
	return err
}

// work has a process do something to trees.
func (u *User) work(ctx context.Context, m message, trees ...*os.File) (err error) {
	if u == nil {
		return ErrUnavailable
	}
	u.mu.Lock()
	held := u.held
	if held != nil {
		defer u.mu.Unlock()
		return held.work(ctx, m, trees)
	}
	u.mu.Unlock()
	a, err := u.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.end()) }()
	return a.work(ctx, m, trees)
}

func (u *User) start(ctx context.Context) (*asked, error) {
	files := append([]*os.File{nil, nil, os.Stderr, nil}, u.holds...)
	p, err := Start(ctx, u.services, []string{Name}, os.ProcAttr{Env: environment(os.Environ()), Files: files}, channelPlace)
	if err != nil {
		return nil, err
	}
	a := &asked{Process: p, ended: make(chan struct{}), grace: grace}
	go func() {
		defer close(a.ended)
		_, _ = p.OS.Wait() // how it ended, the channel tells
	}()
	if err := a.Hand(); err != nil {
		return nil, errors.Join(err, a.end())
	}
	return a, nil
}

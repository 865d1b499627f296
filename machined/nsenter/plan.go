package nsenter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plan is everything that the copy of the process needs to know, laid out
// before the clone so that nothing has to be allocated after it.
type plan struct {
	target  Target
	command string // argv[0], for messages
	workdir string
	cgroup  *cgroup // nil where there is none to make
	files   []*os.File
	started func()
	ended   func()
	over    chan struct{} // of an errand: closed when it is

	fds [fdCount]uintptr
	way
	root     bool // descriptor fdRoot is to be the root directory
	uid, gid uintptr
	groups   []uint32
	drop     []uintptr // capabilities to take out of the bounding set
	noNew    bool      // the leader has no_new_privs
	terminal bool      // standard input controls the session
	dir      *byte
	dirOrTop bool // a missing dir is replaced by /
	programs []*byte
	argv     []*byte // ends with nil, as does env
	env      []*byte
	errand   *errand // in place of a program
	early    *failure
	caps     [2]unix.CapUserData // the caller's own, nothing inheritable
	inherited
	filters []unix.SockFprog
}

// The descriptors that the copy keeps, by the numbers that it gives them.
const (
	fdStderr = 2 // the last one that the command sees
	fdReport = 3
	fdPIDFD  = 4
	fdRoot   = 5
	fdCount  = 6
)

// cloneArgs is struct clone_args of clone3(2), version 2.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTID, setTIDSize, cgroup                    uint64
}

// prepare collects the plan. When it fails, nothing stays open.
func prepare(ctx context.Context, t Target, spec Spec) (_ *plan, err error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	p := &plan{target: t, command: cmp.Or(spec.Program, spec.Argv[0]), started: spec.Started, ended: spec.Ended, terminal: spec.Terminal}
	p.fds[fdPIDFD] = t.PIDFD.Fd()
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	foreign, err := t.Foreign()
	if err != nil {
		return nil, err
	}
	if p.way, err = t.way(foreign); err != nil {
		return nil, err
	}
	root, err := t.Root()
	if err != nil {
		return nil, err
	}
	p.fds[fdRoot], p.root = p.keep(root), true
	found, err := p.find(spec)
	if err != nil {
		return nil, err
	}
	p.setStdio(spec, found.Null)
	if err := errors.Join(p.setCredentials(ctx, found.Account), p.setCaps(), p.inherit()); err != nil {
		return nil, err
	}
	if err := p.setProgram(spec, found); err != nil {
		return nil, err
	}
	return p, p.setCgroup(spec.OwnUnit)
}

// check refuses what execve could not pass on.
func check(spec Spec) error {
	if len(spec.Argv) == 0 || spec.Argv[0] == "" {
		return fmt.Errorf("no command given: %w", ErrInvalid)
	}
	for _, s := range spec.Argv {
		if strings.Contains(s, "\x00") {
			return fmt.Errorf("argument %q: %w", s, ErrInvalid)
		}
	}
	for _, s := range spec.Env {
		if i := strings.IndexByte(s, '='); i <= 0 || strings.Contains(s, "\x00") {
			return fmt.Errorf("environment %q: %w", s, ErrInvalid)
		}
	}
	if strings.Contains(spec.Program, "\x00") {
		return fmt.Errorf("program %q: %w", spec.Program, ErrInvalid)
	}
	if spec.Dir != "" && (!path.IsAbs(spec.Dir) || strings.Contains(spec.Dir, "\x00")) {
		return fmt.Errorf("directory %q: %w", spec.Dir, ErrInvalid)
	}
	return nil
}

// keep leaves a file open until the plan is closed.
func (p *plan) keep(f *os.File) uintptr {
	p.files = append(p.files, f)
	return f.Fd()
}

func (p *plan) close() error {
	err := p.cgroup.release()
	for _, f := range p.files {
		err = errors.Join(err, f.Close())
	}
	p.files = nil
	return err
}

// find returns what the files of the machine say.
func (p *plan) find(spec Spec) (Found, error) {
	if spec.Found != nil {
		return *spec.Found, nil
	}
	found, err := p.target.Find(spec.User, spec.NeedsNull())
	if found.Null != nil {
		p.keep(found.Null)
	}
	return found, err
}

func (p *plan) setStdio(spec Spec, null *os.File) {
	for i, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f == nil {
			f = null
		}
		p.fds[i] = f.Fd()
	}
}

func (p *plan) setCredentials(ctx context.Context, user Account) error {
	status, err := p.target.status()
	if err != nil {
		return err
	}
	p.uid, p.gid, p.groups = uintptr(user.UID), uintptr(user.GID), user.Groups
	p.noNew = status.noNewPrivs
	if p.filters, err = p.target.filters(ctx, status); err != nil {
		return err
	}
	last, err := lastCapability()
	if err != nil {
		return err
	}
	for c := uint(0); c <= last; c++ {
		if status.bounding&(1<<c) == 0 {
			p.drop = append(p.drop, uintptr(c))
		}
	}
	return nil
}

func (p *plan) setCaps() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &p.caps[0]); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	p.caps[0].Inheritable, p.caps[1].Inheritable = 0, 0
	return nil
}

func (p *plan) setProgram(spec Spec, found Found) error {
	user := found.Account
	env := environment(spec.Env, user, found.Container)
	p.workdir, p.dirOrTop = spec.Dir, false
	if p.workdir == "" {
		p.workdir, p.dirOrTop = user.Home, true
	}
	var errDir, errPrograms, errArgv, errEnv error
	p.dir, errDir = unix.BytePtrFromString(p.workdir)
	p.programs, errPrograms = pointers(candidates(p.command, env))
	p.argv, errArgv = pointers(spec.Argv)
	p.env, errEnv = pointers(env)
	p.argv, p.env = append(p.argv, nil), append(p.env, nil)
	return errors.Join(errDir, errPrograms, errArgv, errEnv)
}

func (p *plan) setCgroup(ownUnit bool) error {
	group, err := p.target.newCgroup(ownUnit)
	if err != nil {
		return err
	}
	p.cgroup = group
	if group != nil {
		p.clone.flags |= unix.CLONE_INTO_CGROUP
		p.clone.cgroup = uint64(group.dir.Fd())
	}
	return nil
}

func pointers(list []string) ([]*byte, error) {
	out := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		b, err := unix.BytePtrFromString(s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, ErrInvalid)
		}
		out = append(out, b)
	}
	return out, nil
}

const cloneArgsSize = unsafe.Sizeof(cloneArgs{})

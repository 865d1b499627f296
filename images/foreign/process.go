package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the host's services may take to answer.
const patience = 30 * time.Second

// Process is this program anew in a user namespace of its own.
type Process struct {
	// OS is the process. Whoever started it waits for its end.
	OS       *os.Process
	services Services
	conn     *net.UnixConn
	userns   *os.File
}

// capabilities are what the process has in its namespace, and nowhere else: to become its root, to make a tree of many
// owners, and to give up capabilities.
func capabilities() []uintptr {
	return []uintptr{
		unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP,
		unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH,
	}
}

// Start starts this program with argv in a user namespace with [Size] users, and without network. Of attr, the files and
// the environment count. At the index place the process finds the channel that [Enter] takes.
//
// The process must be waited for, and the Process closed.
func Start(ctx context.Context, s Services, argv []string, attr os.ProcAttr, place int) (_ *Process, err error) {
	if s == nil {
		return nil, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	p := &Process{services: s, conn: conn}
	defer func() {
		err = errors.Join(err, theirs.Close())
		if err != nil {
			err = errors.Join(err, p.Abort())
		}
	}()
	attr.Files = slices.Clone(attr.Files)
	attr.Files[place] = theirs
	attr.Dir = "/"
	attr.Sys = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		AmbientCaps: capabilities(),
	}
	if p.OS, err = os.StartProcess("/proc/self/exe", argv, &attr); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	if p.userns, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", p.OS.Pid)); err != nil {
		return nil, fmt.Errorf("open the new user namespace: %w", err)
	}
	if err := s.AllocateRange(ctx, p.userns); err != nil {
		return nil, fmt.Errorf("get users for a user namespace: %w", err)
	}
	if err := checkMaps(p.OS.Pid); err != nil {
		return nil, err
	}
	return p, nil
}

// Mount returns a mount of a tree of the foreign range in which its owners are those of the namespace.
func (p *Process) Mount(ctx context.Context, dir *os.File) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mount, err := p.services.MountDirectory(ctx, dir, p.userns)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir.Name(), err)
	}
	return mount, nil
}

// Hand hands open files to the process, which waits for that in [Enter].
func (p *Process) Hand(files ...*os.File) error { return send(p.conn, message{}, files...) }

// Close ends the channel. A process that minds it ends itself then.
func (p *Process) Close() error {
	var errs []error
	if p.userns != nil {
		errs = append(errs, p.userns.Close())
	}
	return errors.Join(append(errs, p.conn.Close())...)
}

// Abort ends a process that could not be set up, waits for that and closes the Process.
func (p *Process) Abort() error {
	err := p.Close()
	if p.OS != nil {
		_ = p.OS.Kill() // ended already: that is the aim
		_, waitErr := p.OS.Wait()
		err = errors.Join(err, waitErr)
	}
	return err
}

// The ranges of users that a service gives to namespaces lie between these: no users of the host are there.
const (
	firstTransient = 0x00080000
	lastTransient  = 0x6FFFFFFF
)

// errMap says that the users of a namespace are not those that were asked for. Nothing is done in it then: as its root
// this program could be a user of the host.
var errMap = errors.New("the user namespace was given users that were not asked for")

// checkMaps makes sure that a service did what it was asked for, for users and groups.
func checkMaps(pid int) error {
	var first []byte
	for _, name := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return fmt.Errorf("read the users of a user namespace: %w", err)
		}
		if err := checkMap(text); err != nil {
			return fmt.Errorf("%w: %s is %q", err, name, text)
		}
		if first != nil && !bytes.Equal(first, text) {
			return fmt.Errorf("%w: groups %q are not like users %q", errMap, text, first)
		}
		first = text
	}
	return nil
}

func checkMap(text []byte) error {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return errMap
	}
	var numbers [3]uint64
	for i, f := range fields {
		n, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return fmt.Errorf("%w: %w", errMap, err)
		}
		numbers[i] = n
	}
	inside, outside, count := numbers[0], numbers[1], numbers[2]
	if inside != 0 || count != Size || outside%Size != 0 || outside < firstTransient || outside+Size-1 > lastTransient {
		return errMap
	}
	return nil
}

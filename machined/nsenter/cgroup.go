package nsenter

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is the control group of one command, a child of the leader's or of the
// caller's. It is what lets a command be killed with everything it started.
type cgroup struct {
	path string
	dir  *os.File
	heir string // the leader's, for what a command leaves behind; "" if that ends with it
}

// newCgroup makes a control group below the leader's, or the caller's own if that
// is its unit; nil where the host has no cgroup v2, where the leader is not in a
// group of its own, or where a plain user may make none. The leader's is a leaf
// even in a guest that manages its own tree, and it is safe to add to, because
// nobody can have switched controllers on in a group that has members.
func (t Target) newCgroup(ownUnit bool) (*cgroup, error) {
	its, err := unifiedPath(t.proc("cgroup"))
	if err != nil {
		return nil, t.cause(err)
	}
	own, err := unifiedPath("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mount, err := unifiedMount()
	if err != nil {
		return nil, err
	}
	if err := t.Alive(); err != nil {
		return nil, err
	}
	if mount == "" || its == "" || its == "/" || its == own || strings.HasPrefix(its, "/../") {
		return nil, nil
	}
	heir := filepath.Join(mount, its)
	path := filepath.Join(heir, "exec-"+strings.ToLower(rand.Text()[:16]))
	if ownUnit {
		path = filepath.Join(mount, own, "command")
	}
	if t.PID == 1 {
		heir = "" // the host's init: nobody would ever end it there
	}
	err = os.Mkdir(path, 0o755)
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("make control group of command: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open control group", Path: path, Err: err}, os.Remove(path))
	}
	return &cgroup{path: path, dir: os.NewFile(uintptr(fd), path), heir: heir}, nil
}

// kill sends SIGKILL to every member, present and forking.
func (c *cgroup) kill() error {
	if c == nil {
		return nil
	}
	err := os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // kernel before 5.14, or the machine is already gone
	}
	return err
}

// emptyDeadline is how long the dying members of a killed group are waited for.
const emptyDeadline = 5 * time.Second

// release removes the group. Whoever is still in it was left behind by a
// command that ended by itself, and is handed to the leader's group.
func (c *cgroup) release() error {
	if c == nil {
		return nil
	}
	defer c.dir.Close() //nolint:errcheck // a directory opened for reading has nothing to lose
	deadline := time.Now().Add(emptyDeadline)
	for {
		err := unix.Rmdir(c.path)
		if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || !time.Now().Before(deadline) {
			return fmt.Errorf("remove control group of command: %w", err)
		}
		if err := c.handOver(); err != nil {
			return err
		}
		if err := c.awaitChange(time.Until(deadline)); err != nil {
			return err
		}
	}
}

// handOver moves the members to the leader's group.
func (c *cgroup) handOver() error {
	if c.heir == "" {
		return c.kill()
	}
	members, err := os.ReadFile(filepath.Join(c.path, "cgroup.procs"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list control group of command: %w", err)
	}
	up := filepath.Join(c.heir, "cgroup.procs")
	for pid := range strings.FieldsSeq(string(members)) {
		err := os.WriteFile(up, []byte(pid), 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("hand process %s to the machine: %w", pid, err)
		}
	}
	return nil
}

// awaitChange waits until the group has no living member.
func (c *cgroup) awaitChange(limit time.Duration) (err error) {
	f, err := os.Open(filepath.Join(c.path, "cgroup.events"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(f)
	if err != nil || strings.Contains(string(text), "populated 0") {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	if _, err := unix.Poll(fds, int(limit.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for control group of command: %w", err)
	}
	return nil
}

// unifiedPath reads a process's cgroup v2 path out of a /proc/PID/cgroup file.
func unifiedPath(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read control group: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(p, "\n"), nil
		}
	}
	return "", nil
}

// unifiedMount finds where the whole cgroup v2 tree is mounted, which on a
// hybrid host is not /sys/fs/cgroup; empty when it is not.
func unifiedMount() (mount string, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup2 mount: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if len(fields) > 4 && fields[3] == "/" && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("find cgroup2 mount: %w", err)
	}
	return "", nil
}

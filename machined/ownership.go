package machined

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxNamespaces is how many user namespaces are looked at above a process.
const maxNamespaces = 16

// mayRegister returns [ErrNotOwner] unless the caller may make a machine of the
// process: it is privileged, the process runs as the caller's user, or in a user
// namespace below one that the caller's user made.
func mayRegister(caller Caller, leader *Process) error {
	if caller.Privileged() || caller.Administrator {
		return nil
	}
	owned, err := ownedBy(leader, caller.UID)
	if err != nil {
		return fmt.Errorf("find owner of process %d: %w", leader.PID, err)
	}
	if !owned {
		return fmt.Errorf("process %d, user %d: %w", leader.PID, caller.UID, ErrNotOwner)
	}
	return nil
}

// ownedBy looks at /proc by number; what was seen counts only if the process
// was alive afterwards, so that the number was its own.
func ownedBy(p *Process, uid uint32) (bool, error) {
	real, err := realUID(p.PID)
	owned := err == nil && real == uid
	if err == nil && !owned {
		owned, err = inNamespaceOf(p.PID, uid)
	}
	if !p.Alive() {
		return false, ErrNoSuchProcess
	}
	return owned, err
}

func realUID(pid int) (uint32, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		value, ok := bytes.CutPrefix(line, []byte("Uid:"))
		if fields := bytes.Fields(value); ok && len(fields) > 0 {
			return parseUint32(string(fields[0])) // real, effective, saved, file system
		}
	}
	return 0, errors.New("its status names no user")
}

func inNamespaceOf(pid int, uid uint32) (bool, error) {
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &own); err != nil {
		return false, ignoreNoNamespaces(err)
	}
	ns, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, ignoreNoNamespaces(err)
	}
	for range maxNamespaces {
		owned, top, err := namespaceOwned(ns, own, uid)
		if owned || top || err != nil {
			return owned, errors.Join(err, unix.Close(ns))
		}
		parent, err := unix.IoctlRetInt(ns, unix.NS_GET_USERNS)
		if err := errors.Join(ignoreOutOfSight(err), unix.Close(ns)); err != nil {
			return false, err
		}
		if err != nil {
			return false, nil //nolint:nilerr // the parent is not below ours, which is the answer
		}
		ns = parent
	}
	return false, errors.Join(unix.ELOOP, unix.Close(ns))
}

// namespaceOwned reports whether uid made the namespace, and whether it is our
// own, above which there is nothing to ask.
func namespaceOwned(ns int, own unix.Stat_t, uid uint32) (owned, top bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(ns, &st); err != nil {
		return false, false, err
	}
	if st.Ino == own.Ino && st.Dev == own.Dev {
		return false, true, nil
	}
	owner, err := unix.IoctlGetUint32(ns, unix.NS_GET_OWNER_UID)
	return err == nil && owner == uid, false, err
}

func ignoreNoNamespaces(err error) error {
	if errors.Is(err, os.ErrNotExist) { // a kernel without user namespaces
		return nil
	}
	return err
}

func ignoreOutOfSight(err error) error {
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

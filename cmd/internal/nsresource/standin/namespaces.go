package standin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/nsresource"
	"berth/cmd/internal/varlink"
	"berth/images/foreign"
)

// namespaceDescription is the part of the interface that is needed here.
const namespaceDescription = `interface ` + nsresource.NamespaceInterface + `
method AllocateUserRange(name: string, mangleName: ?bool, size: int, target: ?int, userNamespaceFileDescriptor: int) -> (name: ?string)
method AddMountToUserNamespace(userNamespaceFileDescriptor: int, mountFileDescriptor: int) -> ()
error NameExists()
error UserNamespaceExists()
error UserNamespaceNotRegistered()
error DynamicRangeUnavailable()
`

// namePattern is what can be a part of the name of a user.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}$`)

func (h *Host) addNamespaces(s *varlink.Server) error {
	return s.Handle(namespaceDescription, map[string]varlink.Handler{
		"AllocateUserRange": h.allocate, "AddMountToUserNamespace": h.addMount,
	})
}

func namespaceError(name string) error {
	return &varlink.Error{Name: nsresource.NamespaceInterface + "." + name}
}

func (h *Host) allocate(_ context.Context, call *varlink.Call) error {
	var p struct {
		Name   string `json:"name"`
		Size   int    `json:"size"`
		Target int    `json:"target"`
		Userns int    `json:"userNamespaceFileDescriptor"`
	}
	if err := call.Parameters(&p); err != nil {
		return err
	}
	switch {
	case !namePattern.MatchString(p.Name):
		return varlink.InvalidParameter("name")
	case p.Size != foreign.Size:
		return varlink.InvalidParameter("size")
	case p.Target != 0:
		return varlink.InvalidParameter("target")
	}
	userns, err := file(call, p.Userns, "userNamespaceFileDescriptor")
	if err != nil {
		return err
	}
	inode, err := inspect(userns, call.Peer().UID)
	if err != nil {
		return err
	}
	process, err := processIn(inode)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	users, err := usersOf(process)
	switch {
	case err != nil:
		return err
	case users != 0:
		return namespaceError("UserNamespaceExists")
	case h.names[p.Name]:
		return namespaceError("NameExists")
	}
	start := h.last + foreign.Size
	if err := give(process, start); err != nil {
		return err
	}
	h.names[p.Name], h.last = true, start
	return call.Reply(map[string]string{"name": p.Name})
}

// inspect returns the inode of a user namespace that must be the caller's.
func inspect(userns *os.File, caller uint32) (inode uint64, err error) {
	fd := int(userns.Fd())
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWUSER {
		return 0, varlink.InvalidParameter("userNamespaceFileDescriptor")
	}
	owner, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
	if err != nil {
		return 0, fmt.Errorf("read owner of the namespace: %w", err)
	}
	if owner != caller && caller != 0 {
		return 0, varlink.PermissionDenied()
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("look at the namespace: %w", err)
	}
	return st.Ino, nil
}

// give writes the users of a namespace by way of a process that is in it.
func give(process string, start uint32) error {
	text := fmt.Sprintf("0 %d %d\n", start, foreign.Size)
	for _, name := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(filepath.Join(process, name), []byte(text), 0); err != nil {
			return fmt.Errorf("write the users of the namespace: %w", err)
		}
	}
	return nil
}

// processIn returns the directory below /proc of a process that is in a namespace.
func processIn(inode uint64) (string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/ns/user")
	if err != nil {
		return "", err
	}
	for _, link := range links {
		var st unix.Stat_t
		err := unix.Stat(link, &st)
		if err == nil && st.Ino == inode {
			return filepath.Dir(filepath.Dir(link)), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EACCES) {
			return "", fmt.Errorf("look at %s: %w", link, err)
		}
	}
	return "", fmt.Errorf("no process is in the namespace: %w", unix.ESRCH)
}

// addMount only looks whether the namespace is known: there is nothing that would keep it from the mount.
func (h *Host) addMount(_ context.Context, call *varlink.Call) error {
	var p struct {
		Userns int `json:"userNamespaceFileDescriptor"`
		Mount  int `json:"mountFileDescriptor"`
	}
	if err := call.Parameters(&p); err != nil {
		return err
	}
	if call.Peer().UID != 0 {
		return varlink.PermissionDenied()
	}
	userns, err := file(call, p.Userns, "userNamespaceFileDescriptor")
	if err != nil {
		return err
	}
	if _, err := file(call, p.Mount, "mountFileDescriptor"); err != nil {
		return err
	}
	users, err := firstUser(userns)
	if err != nil {
		return err
	}
	if users == 0 {
		return namespaceError("UserNamespaceNotRegistered")
	}
	return call.Reply(nil)
}

// firstUser is usersOf for an open namespace.
func firstUser(userns *os.File) (uint32, error) {
	inode, err := inspect(userns, 0)
	if err != nil {
		return 0, err
	}
	process, err := processIn(inode)
	if err != nil {
		return 0, err
	}
	return usersOf(process)
}

// usersOf is the first user of the namespace that a process is in, or 0 if that has none. The kernel is asked: the
// number of a namespace that is gone may be another's.
func usersOf(process string) (uint32, error) {
	text, err := os.ReadFile(filepath.Join(process, "uid_map"))
	if err != nil {
		return 0, fmt.Errorf("read the users of the namespace: %w", err)
	}
	if len(text) == 0 {
		return 0, nil
	}
	var inside, outside, count uint32
	if _, err := fmt.Sscan(string(text), &inside, &outside, &count); err != nil {
		return 0, fmt.Errorf("read the users %q of the namespace: %w", text, err)
	}
	return outside, nil
}

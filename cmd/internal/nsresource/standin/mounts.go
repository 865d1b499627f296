package standin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/nsresource"
	"berth/cmd/internal/varlink"
	"berth/images/foreign"
)

// mountDescription is the part of the interface that is needed here.
const mountDescription = `interface ` + nsresource.MountInterface + `
type MountMapMode(root, foreign, identity, auto)
method MountDirectory(directoryFileDescriptor: int, userNamespaceFileDescriptor: ?int, readOnly: ?bool, mode: ?MountMapMode,
  allowInteractiveAuthentication: ?bool) -> (mountFileDescriptor: int)
method MakeDirectory(parentFileDescriptor: int, name: string, mode: ?int, allowInteractiveAuthentication: ?bool)
  -> (directoryFileDescriptor: int)
error BadFileDescriptorFlags(parameter: string)
`

// levels is how far above a directory somebody may look for one that is the caller's.
const levels = 16

func (h *Host) addMounts(s *varlink.Server) error {
	return s.Handle(mountDescription, map[string]varlink.Handler{
		"MountDirectory": h.mountDirectory, "MakeDirectory": h.makeDirectory,
	})
}

func (h *Host) makeDirectory(_ context.Context, call *varlink.Call) error {
	var p struct {
		Parent int    `json:"parentFileDescriptor"`
		Name   string `json:"name"`
		Mode   *int   `json:"mode"`
	}
	if err := call.Parameters(&p); err != nil {
		return err
	}
	if p.Name == "" || p.Name == "." || p.Name == ".." || strings.Contains(p.Name, "/") {
		return varlink.InvalidParameter("name")
	}
	parent, err := directory(call, p.Parent, "parentFileDescriptor")
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(parent.Fd()), &st); err != nil {
		return err
	}
	if st.Uid != call.Peer().UID {
		return varlink.PermissionDenied()
	}
	mode := uint32(0o700)
	if p.Mode != nil {
		mode = uint32(*p.Mode) & 0o775
	}
	made, err := makeForeign(parent, p.Name, mode)
	if err != nil {
		return err
	}
	defer made.Close()
	return call.Reply(map[string]int{"directoryFileDescriptor": 0}, made)
}

func makeForeign(parent *os.File, name string, mode uint32) (*os.File, error) {
	dir := int(parent.Fd())
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
	}
	if err := errors.Join(unix.Fchmod(fd, mode), unix.Fchown(fd, foreign.Base, foreign.Base)); err != nil {
		return nil, errors.Join(err, unix.Close(fd), unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (h *Host) mountDirectory(_ context.Context, call *varlink.Call) error {
	p := struct {
		Directory int    `json:"directoryFileDescriptor"`
		Userns    int    `json:"userNamespaceFileDescriptor"`
		ReadOnly  bool   `json:"readOnly"`
		Mode      string `json:"mode"`
	}{Userns: -1}
	if err := call.Parameters(&p); err != nil {
		return err
	}
	if p.Mode != "foreign" || p.ReadOnly {
		return varlink.InvalidParameter("mode")
	}
	dir, err := directory(call, p.Directory, "directoryFileDescriptor")
	if err != nil {
		return err
	}
	if err := mayMount(dir, call.Peer().UID); err != nil {
		return err
	}
	userns, err := file(call, p.Userns, "userNamespaceFileDescriptor")
	if err != nil {
		return err
	}
	start, err := firstUser(userns)
	if err != nil {
		return err
	}
	if start == 0 {
		return varlink.InvalidParameter("userNamespaceFileDescriptor")
	}
	mount, err := mountFor(dir, start)
	if err != nil {
		return err
	}
	defer mount.Close()
	return call.Reply(map[string]int{"mountFileDescriptor": 0}, mount)
}

// allowed are the flags of a directory that are not refused; the last is one that the kernel sets by itself.
const allowed = unix.O_ACCMODE | unix.O_DIRECTORY | unix.O_NOFOLLOW | 0o100000

// directory returns an open directory that came with a call.
func directory(call *varlink.Call, index int, parameter string) (*os.File, error) {
	dir, err := file(call, index, parameter)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, unix.ENOTDIR
	}
	flags, err := unix.FcntlInt(dir.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	if flags&^allowed != 0 {
		return nil, &varlink.Error{
			Name:       nsresource.MountInterface + ".BadFileDescriptorFlags",
			Parameters: map[string]string{"parameter": parameter},
		}
	}
	return dir, nil
}

// mayMount refuses what neither is the caller's nor lies, with nothing but the foreign range between, in a directory
// of the caller's on the same mount.
func mayMount(dir *os.File, caller uint32) error {
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var at unix.Statx_t
	if err := look(fd, &at); err != nil {
		return err
	}
	mount := at.Mnt_id
	for range levels {
		switch {
		case at.Mnt_id != mount:
			return varlink.PermissionDenied()
		case at.Uid == caller:
			return nil
		case !foreign.Owned(at.Uid):
			return varlink.PermissionDenied()
		}
		above, err := unix.Openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.Close(fd) // only looked at
		fd = above
		if err := look(fd, &at); err != nil {
			return err
		}
	}
	return varlink.PermissionDenied()
}

func look(fd int, st *unix.Statx_t) error {
	return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_UID|unix.STATX_MNT_ID, st)
}

// mountFor clones a mount and maps the foreign range to the users from start on.
func mountFor(dir *os.File, start uint32) (*os.File, error) {
	idmap, err := namespaceOf(foreign.Base, start)
	if err != nil {
		return nil, err
	}
	defer idmap.Close()
	fd, err := unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("clone the mount: %w", err)
	}
	mount := os.NewFile(uintptr(fd), dir.Name())
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(idmap.Fd()), Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the owners of the mount: %w", err), mount.Close())
	}
	return mount, nil
}

// Probe says whether the stand-in can do its work in a directory: not every file system can have other owners in a mount.
func Probe(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	mount, err := mountFor(f, firstRange)
	if err != nil {
		return err
	}
	return mount.Close()
}

// namespaceOf makes a user namespace that exists for its mapping only.
func namespaceOf(inside, outside uint32) (_ *os.File, err error) {
	mapping := []syscall.SysProcIDMap{{ContainerID: int(inside), HostID: int(outside), Size: foreign.Size}}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), "/bin/cat")
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping}
	err = errors.Join(cmd.Start(), r.Close())
	defer func() { err = errors.Join(err, w.Close()) }()
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	_ = cmd.Process.Kill() // ended already: it has done all that it is for
	_ = cmd.Wait()         // killed
	return f, err
}

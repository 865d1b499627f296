// Package nsresource asks systemd-nsresourced and systemd-mountfsd, the services of a host by which its users can have
// files of many owners, over Varlink: io.systemd.NamespaceResource and io.systemd.MountFileSystem.
package nsresource

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/varlink"
	"berth/images/foreign"
)

// The interfaces, and the sockets at which they are offered.
const (
	NamespaceInterface = "io.systemd.NamespaceResource"
	MountInterface     = "io.systemd.MountFileSystem"

	NamespaceSocket = "/run/systemd/io.systemd.NamespaceResource"
	MountSocket     = "/run/systemd/io.systemd.MountFileSystem"
)

// errorNotSupported is the answer of a systemd-nsresourced whose kernel cannot keep user namespaces from what is not
// theirs: it has no LSM for BPF.
const errorNotSupported = NamespaceInterface + ".UserNamespaceInterfaceNotSupported"

// Client asks the services at these sockets. The zero value asks those of the host.
type Client struct {
	NamespaceSocket, MountSocket string
}

var _ foreign.Services = Client{}

// AllocateRange gives a user namespace without users 64K of them.
func (c Client) AllocateRange(ctx context.Context, userns *os.File) error {
	type parameters struct {
		Name   string `json:"name"`
		Size   int    `json:"size"`
		Userns int    `json:"userNamespaceFileDescriptor"`
	}
	files, err := call(ctx, c.namespaces(), NamespaceInterface+".AllocateUserRange",
		parameters{namespaceName(), foreign.Size, 0}, nil, userns)
	return errors.Join(err, closeAll(files))
}

// namespaceName is one that nobody else will think of: names of namespaces are names of users, and short.
func namespaceName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "berth-" + hex.EncodeToString(b[:])
}

// MakeDirectory makes a directory that belongs to the foreign range.
func (c Client) MakeDirectory(ctx context.Context, parent *os.File, name string) (*os.File, error) {
	type parameters struct {
		Parent int    `json:"parentFileDescriptor"`
		Name   string `json:"name"`
		Mode   int    `json:"mode"`
	}
	var answer struct {
		Directory *int `json:"directoryFileDescriptor"`
	}
	again, err := plain(parent)
	if err != nil {
		return nil, err
	}
	files, err := call(ctx, c.mounts(), MountInterface+".MakeDirectory", parameters{0, name, 0o755}, &answer, again)
	if err = errors.Join(err, again.Close()); err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	f, err := one(files, answer.Directory)
	if err != nil {
		return nil, fmt.Errorf("ask %s for a directory: %w", c.mounts(), err)
	}
	return named(f, parent.Name()+"/"+name)
}

// MountDirectory returns a mount of a directory with the owners of a user namespace.
func (c Client) MountDirectory(ctx context.Context, dir, userns *os.File) (*os.File, error) {
	type parameters struct {
		Directory int    `json:"directoryFileDescriptor"`
		Userns    int    `json:"userNamespaceFileDescriptor"`
		Mode      string `json:"mode"`
	}
	var answer struct {
		Mount *int `json:"mountFileDescriptor"`
	}
	again, err := plain(dir)
	if err != nil {
		return nil, err
	}
	files, err := call(ctx, c.mounts(), MountInterface+".MountDirectory", parameters{0, 1, "foreign"}, &answer, again, userns)
	if err = errors.Join(err, again.Close()); err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	f, err := one(files, answer.Mount)
	if err != nil {
		return nil, fmt.Errorf("ask %s for a mount: %w", c.mounts(), err)
	}
	return named(f, dir.Name())
}

// plain opens a directory once more: with flags that it does not expect, such as O_NONBLOCK, systemd-mountfsd refuses it.
func plain(dir *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

func (c Client) namespaces() string {
	if c.NamespaceSocket != "" {
		return c.NamespaceSocket
	}
	return NamespaceSocket
}

func (c Client) mounts() string {
	if c.MountSocket != "" {
		return c.MountSocket
	}
	return MountSocket
}

// call makes one call on a connection of its own: a service ends those that it does not hear of for long.
func call(ctx context.Context, socket, method string, in, out any, files ...*os.File) (_ []*os.File, err error) {
	client, err := varlink.Dial(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", foreign.ErrUnavailable, err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	got, err := client.Call(ctx, method, in, out, files...)
	if errors.Is(err, &varlink.Error{Name: errorNotSupported}) {
		return nil, fmt.Errorf("%w: the service at %s says that this kernel has no LSM for BPF: %w", foreign.ErrUnavailable, socket, err)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the service at %s: %w", socket, err)
	}
	return got, nil
}

// one returns the only file that came, at the index where the answer says that it is.
func one(files []*os.File, index *int) (*os.File, error) {
	if len(files) != 1 || index == nil || *index != 0 {
		return nil, errors.Join(fmt.Errorf("%d files came back, and the answer means another", len(files)), closeAll(files))
	}
	return files[0], nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// named gives a file the name by which errors speak of it.
func named(f *os.File, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("use the file that came back: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

package machineapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"berth/images"
	"berth/machined"

	"golang.org/x/sys/unix"
)

// Offers says whether machined is ours, which does everything over Varlink. The
// stock one does some things over D-Bus only.
func (c *Client) Offers(ctx context.Context) (bool, error) {
	var info struct{ Interfaces []string }
	err := c.call(ctx, "", "org.varlink.service.GetInfo", nil, &info)
	return slices.Contains(info.Interfaces, berthName), err
}

// Describe tells about one machine, with what can be read inside it.
func (c *Client) Describe(ctx context.Context, name string) (Description, error) {
	m, err := c.Machine(ctx, name)
	// A machine that is listed has a living leader.
	return Description{Machine: m, State: string(machined.StateRunning), Interfaces: interfacesOf(c.state, name)}, err
}

// MachineProperties lists the properties of a machine as they are on D-Bus.
func (c *Client) MachineProperties(ctx context.Context, name string) ([]Property, error) {
	d, err := c.Describe(ctx, name)
	return d.Properties(), err
}

// ImageProperties lists the properties of an image as they are on D-Bus.
func (c *Client) ImageProperties(ctx context.Context, name string) ([]Property, error) {
	i, err := c.Image(ctx, name)
	return i.Properties(), err
}

// ManagerProperties lists the properties of machined as they are on D-Bus. What
// the pool uses and may use is not told over Varlink.
func (c *Client) ManagerProperties(context.Context) ([]Property, error) {
	places := images.SystemLocations("")
	if c.User {
		var err error
		if places, err = images.UserLocations(); err != nil {
			return nil, err
		}
	}
	return []Property{{"PoolPath", places.Pool[images.ClassMachine]}, {"PoolUsage", images.Unknown}, {"PoolLimit", images.Unknown}}, nil
}

// ControlAddress is where a machine can be controlled directly, "" if nowhere.
func (c *Client) ControlAddress(ctx context.Context, name string) (string, error) {
	m, err := c.Registered(ctx, name)
	return m.ControlAddress, err
}

// Registered tells about one machine what everybody may know: nothing is read
// inside it.
func (c *Client) Registered(ctx context.Context, name string) (m Machine, err error) {
	err = c.call(ctx, name, machineName+".List", map[string]any{"name": name}, &m)
	return m, err
}

// Open opens a terminal in a machine.
func (c *Client) Open(ctx context.Context, s Session) (_ *os.File, err error) {
	in := c.interactively(map[string]any{"name": s.Machine, "mode": s.Mode})
	for name, value := range map[string]string{"user": s.User, "path": s.Path} {
		if value != "" {
			in[name] = value
		}
	}
	for name, value := range map[string][]string{"args": s.Args, "environment": s.Env} {
		if len(value) > 0 {
			in[name] = value
		}
	}
	var out struct {
		PTYFileDescriptor int
		PTYPath           string
	}
	files, err := c.conn.Call(ctx, machineName+".Open", in, &out)
	if err != nil {
		return nil, explained(s.Machine, err)
	}
	if i := out.PTYFileDescriptor; i >= 0 && i < len(files) {
		pty := files[i]
		return pty, closeFiles(slices.Delete(files, i, i+1))
	}
	return nil, errors.Join(errors.New("machined sent no terminal"), closeFiles(files))
}

func closeFiles(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Copy copies a file or a tree into a machine or out of it.
func (c *Client) Copy(ctx context.Context, f Files) error {
	method := machineName + ".CopyFrom"
	if f.Into {
		method = machineName + ".CopyTo"
	}
	in := c.interactively(map[string]any{"name": f.Machine, "source": f.Source, "replace": f.Replace})
	if f.Destination != "" {
		in["destination"] = f.Destination
	}
	return c.call(ctx, f.Machine, method, in, nil)
}

// Bind mounts a path of the host in a machine.
func (c *Client) Bind(ctx context.Context, b Bind) error {
	in := c.interactively(map[string]any{
		"name": b.Machine, "source": b.Source, "readOnly": b.ReadOnly, "mkdir": b.Mkdir,
	})
	if b.Destination != "" {
		in["destination"] = b.Destination
	}
	return c.call(ctx, b.Machine, machineName+".BindMount", in, nil)
}

// SetLimit limits the size of an image, in bytes; [images.Unknown] is no limit.
func (c *Client) SetLimit(ctx context.Context, name string, limit uint64) error {
	return c.call(ctx, name, imageName+".Update", c.interactively(map[string]any{"name": name, "limit": limit}), nil)
}

// SetPoolLimit limits the size of all images together.
func (c *Client) SetPoolLimit(ctx context.Context, limit uint64) error {
	return c.call(ctx, "", imageName+".SetPoolLimit", c.interactively(map[string]any{"limit": limit}), nil)
}

// Removal returns a channel that is closed when the machine is no more: when its
// leader has ended. The end of ctx ends it too.
func (c *Client) Removal(ctx context.Context, name string) (<-chan struct{}, error) {
	m := Machine{Class: machined.ClassHost}
	if name != machined.HostName {
		if err := c.call(ctx, name, machineName+".List", map[string]any{"name": name}, &m); err != nil {
			return nil, err
		}
	}
	gone := make(chan struct{})
	if m.Class == machined.ClassHost || m.Leader == nil {
		context.AfterFunc(ctx, func() { close(gone) })
		return gone, nil
	}
	fd, err := unix.PidfdOpen(m.Leader.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch the leader of machine '%s': %w", name, err)
	}
	leader := os.NewFile(uintptr(fd), "pidfd")
	stop, wake, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch the leader of machine '%s': %w", name, err), leader.Close())
	}
	context.AfterFunc(ctx, func() { _ = wake.Close() })
	go func() {
		defer close(gone)
		waitEither(fd, int(stop.Fd()))
		_ = closeFiles([]*os.File{leader, stop})
	}()
	return gone, nil
}

// waitEither waits until one of two descriptors has something to tell.
func waitEither(a, b int) {
	fds := []unix.PollFd{{Fd: int32(a), Events: unix.POLLIN}, {Fd: int32(b), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

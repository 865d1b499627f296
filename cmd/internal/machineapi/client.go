package machineapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"
)

// Client talks to machined over Varlink.
type Client struct {
	// Interactive lets machined have somebody asked for a password.
	Interactive bool
	// User says that it is the machined of the user who runs this.
	User bool

	conn  *varlink.Client
	state string // directory of machined's state files
}

// Dial connects to the machined that listens at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := varlink.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to machined at %s: %w", path, err)
	}
	state := filepath.Join(filepath.Dir(filepath.Dir(path)), "machines")
	return &Client{Interactive: true, conn: conn, state: state}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// errDenied means that authorization was refused.
var errDenied = errors.New("access denied")

// Machines describes all machines, with what can be read inside them if the
// caller may.
func (c *Client) Machines(ctx context.Context) ([]Machine, error) {
	list, err := c.machines(ctx, "graceful")
	if errors.Is(err, errDenied) {
		list, err = c.machines(ctx, "no")
	}
	return list, err
}

func (c *Client) machines(ctx context.Context, metadata string) ([]Machine, error) {
	return collect[Machine](ctx, c.conn, machineName+".List",
		map[string]string{"acquireMetadata": metadata}, machineName+".NoSuchMachine")
}

// describe calls a List method for one object, with what can be read inside it if
// the caller may.
func (c *Client) describe(ctx context.Context, method, name string, out any) error {
	err := c.call(ctx, name, method, map[string]any{"name": name, "acquireMetadata": "graceful"}, out)
	if errors.Is(err, errDenied) {
		err = c.call(ctx, name, method, map[string]any{"name": name}, out)
	}
	return err
}

// Machine describes one machine.
func (c *Client) Machine(ctx context.Context, name string) (Machine, error) {
	var m Machine
	err := c.describe(ctx, machineName+".List", name, &m)
	return m, err
}

// Start starts a machine from the image of that name.
func (c *Client) Start(ctx context.Context, name string) error {
	return c.call(ctx, name, berthName+".Start", c.interactively(map[string]any{"name": name}), nil)
}

// Terminate ends a machine.
func (c *Client) Terminate(ctx context.Context, name string) error {
	return c.call(ctx, name, machineName+".Terminate", c.interactively(map[string]any{"name": name}), nil)
}

// Unregister makes machined forget a machine, whose processes go on.
func (c *Client) Unregister(ctx context.Context, name string) error {
	return c.call(ctx, name, machineName+".Unregister", c.interactively(map[string]any{"name": name}), nil)
}

// Kill sends a signal to processes of a machine; whom may be empty for all.
func (c *Client) Kill(ctx context.Context, name string, whom machined.KillWhom, sig syscall.Signal) error {
	in := c.interactively(map[string]any{"name": name, "signal": int(sig)})
	if whom != "" {
		in["whom"] = whom
	}
	return c.call(ctx, name, machineName+".Kill", in, nil)
}

// Command is a program to run in a machine; see [machined.ExecRequest].
type Command struct {
	Argv []string
	Env  []string
	User string
	Dir  string
}

// ExecError means that a program was not run in a machine.
type ExecError struct {
	Reason string
	// ExitStatus is what a shell would end with: 127 if there is no such program,
	// 126 if it cannot be executed, and 125 for all other reasons.
	ExitStatus int
}

// Error returns the reason.
func (e *ExecError) Error() string { return e.Reason }

// Exec runs a program in a machine and returns its exit status, 128 and more for
// one that a signal ended, or an [ExecError]. Ending ctx kills the program.
func (c *Client) Exec(ctx context.Context, name string, command Command, stdin, stdout, stderr *os.File) (int, error) {
	in := execParameters{
		Name: name, Command: command.Argv, User: command.User,
		Environment: command.Env, WorkingDirectory: command.Dir, Interactive: c.Interactive,
	}
	var out execResult
	err := c.call(ctx, name, berthName+".Exec", in, &out, stdio(stdin, stdout, stderr)...)
	return out.ExitStatus, err
}

// Images describes all images.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return collect[Image](ctx, c.conn, imageName+".List", nil, imageName+".NoSuchImage")
}

// Image describes one image, with what can be read inside it.
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	var i Image
	err := c.describe(ctx, imageName+".List", name, &i)
	return i, err
}

// Rename gives an image another name.
func (c *Client) Rename(ctx context.Context, name, newName string) error {
	return c.call(ctx, name, imageName+".Update", c.interactively(map[string]any{"name": name, "newName": newName}), nil)
}

// SetReadOnly marks an image read-only or writable.
func (c *Client) SetReadOnly(ctx context.Context, name string, readOnly bool) error {
	return c.call(ctx, name, imageName+".Update", c.interactively(map[string]any{"name": name, "readOnly": readOnly}), nil)
}

// Remove removes an image.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.call(ctx, name, imageName+".Remove", c.interactively(map[string]any{"name": name}), nil)
}

// Clean removes hidden images, or all, and returns what is gone.
func (c *Client) Clean(ctx context.Context, all bool) ([]images.Removed, error) {
	type reply struct {
		Name           string
		UsageExclusive *uint64
	}
	replies, err := collect[reply](ctx, c.conn, imageName+".CleanPool", c.interactively(map[string]any{"mode": cleanMode(all)}), imageName+".NoSuchImage")
	var removed []images.Removed
	for _, r := range replies {
		one := images.Removed{Name: r.Name, UsageExclusive: images.Unknown}
		if r.UsageExclusive != nil {
			one.UsageExclusive = *r.UsageExclusive
		}
		removed = append(removed, one)
	}
	return removed, err
}

func (c *Client) interactively(in map[string]any) map[string]any {
	if c.Interactive {
		in["allowInteractiveAuthentication"] = true
	}
	return in
}

func (c *Client) call(ctx context.Context, name, method string, in, out any, files ...*os.File) error {
	_, err := c.conn.Call(ctx, method, in, out, files...)
	return explained(name, err)
}

// collect gathers the replies of a listing; those before an error are returned
// with it. The error none means that there is nothing.
func collect[T any](ctx context.Context, conn *varlink.Client, method string, in any, none string) (list []T, err error) {
	for reply, err := range conn.CallMore(ctx, method, in) {
		if errors.Is(err, &varlink.Error{Name: none}) {
			return list, nil
		} else if err != nil {
			return list, explained("", err)
		}
		var item T
		if err := json.Unmarshal(reply.Parameters, &item); err != nil {
			return list, fmt.Errorf("read the answer of machined: %w", err)
		}
		list = append(list, item)
	}
	return list, nil
}

// explained turns the errors of the interfaces into words for people.
func explained(name string, err error) error {
	var e *varlink.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Name {
	case machineName + ".NoSuchMachine", berthName + ".NoSuchMachine":
		return fmt.Errorf("no machine '%s' known: %w", name, machined.ErrNoSuchMachine)
	case machineName + ".MachineExists", berthName + ".MachineExists":
		return fmt.Errorf("machine '%s': %w", name, machined.ErrMachineExists)
	case imageName + ".NoSuchImage", berthName + ".NoSuchImage":
		return fmt.Errorf("no image '%s' known: %w", name, images.ErrNotFound)
	case machineName + ".NotSupported", imageName + ".NotSupported", berthName + ".NotSupported":
		if name == "" {
			return errors.New("this host does not support it")
		}
		return fmt.Errorf("'%s': %w", name, machined.ErrNotSupported)
	case machineName + ".TooManyOperations", imageName + ".TooManyOperations", berthName + ".TooManyOperations":
		return machined.ErrTooManyOperations
	case machineName + ".NoIPC":
		return fmt.Errorf("machine '%s' has no system bus: its init cannot be asked for a terminal", name)
	case berthName + ".ExecFailed":
		var f execFailure
		if err := e.Decode(&f); err == nil {
			return &ExecError{f.Reason, f.ExitStatus}
		}
	case berthName + ".StartFailed":
		var r reason
		if err := e.Decode(&r); err == nil {
			return errors.New(r.Reason)
		}
	case berthName + ".InvalidRequest":
		var r refusal
		if err := e.Decode(&r); err == nil {
			return fmt.Errorf("invalid %s: %s", r.Parameter, r.Reason)
		}
	case varlink.ErrorInvalidParameter:
		var in struct{ Parameter string }
		if err := e.Decode(&in); err == nil {
			return fmt.Errorf("machined refuses the value of %q", in.Parameter)
		}
	case varlink.ErrorPermissionDenied:
		return errDenied
	case varlink.ErrorSystem:
		// Ours tells more than the number, the stock machined does not.
		var in struct{ Message string }
		if errno, ok := errors.AsType[syscall.Errno](err); ok && e.Decode(&in) == nil && in.Message == "" {
			return errno
		}
	case varlink.ErrorMethodNotFound, varlink.ErrorMethodNotImplemented:
		var in struct{ Method string }
		if err := e.Decode(&in); err == nil {
			return fmt.Errorf("the machined that runs here cannot do this: it has no method %s", in.Method)
		}
	}
	return err
}

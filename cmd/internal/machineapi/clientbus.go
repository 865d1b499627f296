package machineapi

import (
	"context"
	"errors"
	"fmt"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// BusClient talks to machined over D-Bus, and to the service manager that is on
// the same bus.
type BusClient struct {
	// Interactive lets the daemons have somebody asked for a password.
	Interactive bool

	conn  *dbus.Conn
	close func() error
}

// Close ends the connection.
func (c *BusClient) Close() error { return c.close() }

// object is what methods are called on.
type object struct {
	service string
	path    dbus.ObjectPath
}

var machinedObject = object{BusName, busPath}

// call calls a method, named with its interface, and stores its results.
func (c *BusClient) call(ctx context.Context, o object, iface, method string, results []any, args ...any) error {
	request := bus.Request{
		Service: o.service, Path: o.path, Interface: iface, Method: method, Args: args, Interactive: c.Interactive,
	}
	reply := request.Send(ctx, c.conn)
	if reply.Err != nil {
		return callError(ctx, method, reply.Err)
	}
	if results == nil {
		return nil
	}
	if err := reply.Store(results...); err != nil {
		return fmt.Errorf("read the answer to %s: %w", method, err)
	}
	return nil
}

// CallError is what a daemon answered instead of doing something.
type CallError struct {
	// Name is the error's name on the bus, Text the daemon's own words.
	Name, Text string
}

// Error returns the words, or the name where there are none.
func (e *CallError) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Text
}

// Is knows the errors of machined by their names.
func (e *CallError) Is(target error) bool {
	for _, known := range busErrors {
		if known.name == e.Name && known.err == target { //nolint:errorlint // this is errors.Is
			return true
		}
	}
	return target == errDenied && e.Name == "org.freedesktop.DBus.Error.AccessDenied" //nolint:errorlint // the same
}

// UnknownMethod says whether the daemon does not have the method that was called.
func (e *CallError) UnknownMethod() bool {
	return e.Name == "org.freedesktop.DBus.Error.UnknownMethod" || e.Name == "org.freedesktop.DBus.Error.UnknownInterface"
}

func callError(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("call %s: %w", method, context.Cause(ctx))
	}
	e, ok := errors.AsType[dbus.Error](err)
	if !ok {
		return fmt.Errorf("call %s: %w", method, err)
	}
	answer := &CallError{Name: e.Name}
	if len(e.Body) > 0 {
		answer.Text, _ = e.Body[0].(string)
	}
	return answer
}

// manager calls a method of machined about the machine or image called name,
// "" if it is about none.
func (c *BusClient) manager(ctx context.Context, name, method string, results []any, args ...any) error {
	return about(name, c.call(ctx, machinedObject, busManagerName, method, results, args...))
}

// about names the machine or image that there is not.
func about(name string, err error) error {
	switch {
	case name == "":
		return err
	case errors.Is(err, machined.ErrNoSuchMachine):
		return fmt.Errorf("no machine '%s' known: %w", name, machined.ErrNoSuchMachine)
	case errors.Is(err, images.ErrNotFound):
		return fmt.Errorf("no image '%s' known: %w", name, images.ErrNotFound)
	}
	return err
}

// propertiesOf returns all properties of an object.
func (c *BusClient) propertiesOf(ctx context.Context, o object, iface string) (map[string]dbus.Variant, error) {
	var all map[string]dbus.Variant
	err := c.call(ctx, o, "org.freedesktop.DBus.Properties", "GetAll", []any{&all}, iface)
	return all, err
}

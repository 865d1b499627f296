package importapi

import (
	"context"
	"errors"
	"fmt"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

// call calls a method of the manager and returns what it answers.
func (c *BusClient) call(ctx context.Context, method string, args ...any) ([]any, error) {
	reply, _, err := c.ask(ctx, method, args...)
	return reply, err
}

// ask is call that also tells where among all that comes over the bus the answer
// stands.
func (c *BusClient) ask(ctx context.Context, method string, args ...any) ([]any, dbus.Sequence, error) {
	request := bus.Request{
		Service: BusName, Path: managerPath, Interface: managerName, Method: method, Args: args, Interactive: c.Interactive,
	}
	reply := request.Send(ctx, c.conn)
	switch {
	case reply.Err == nil:
		return reply.Body, reply.ResponseSequence, nil
	case ctx.Err() != nil:
		return nil, dbus.NoSequence, context.Cause(ctx)
	}
	return nil, dbus.NoSequence, saidByImportd(method, reply.Err)
}

// callError is what importd answered instead of doing something.
type callError struct{ name, text string }

func (e *callError) Error() string { return e.text }

// busErrorName is the name of the error that importd answered with, or empty.
func busErrorName(err error) string {
	if e, ok := errors.AsType[*callError](err); ok {
		return e.name
	}
	return ""
}

func saidByImportd(method string, err error) error {
	e, ok := errors.AsType[dbus.Error](err)
	if !ok {
		return fmt.Errorf("call %s of importd: %w", method, err)
	}
	answer := &callError{name: e.Name, text: e.Name}
	if len(e.Body) > 0 {
		if text, ok := e.Body[0].(string); ok && text != "" {
			answer.text = text
		}
	}
	switch e.Name {
	case bus.ErrorUnknownMethod:
		answer.text = fmt.Sprintf("the importd that runs there has no method %s", method)
	case bus.ErrorServiceUnknown, bus.ErrorNameHasNoOwner:
		answer.text = "no importd is running there, and none can be started: " + answer.text
	}
	return answer
}

// stored puts the one value of an answer into result. No answer has none.
func stored(reply []any, result any) error {
	if reply == nil {
		return nil
	}
	if err := dbus.Store(reply, result); err != nil {
		return fmt.Errorf("read the answer of importd: %w", err)
	}
	return nil
}

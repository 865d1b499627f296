package varlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
)

// ErrReplied says that a handler has sent its final reply already.
var ErrReplied = errors.New("varlink call was answered already")

// Call is one call on its way through a handler. Its methods may be used by
// several goroutines.
type Call struct {
	request
	conn  *conn
	base  context.Context // what Detach gives; the call lives no longer
	check func(json.RawMessage) error

	mu      sync.Mutex
	files   []*os.File
	replied bool
	broken  error // the reply could not be sent
}

// Method is the full name of the method.
func (c *Call) Method() string { return c.method }

// More reports whether the client takes more than one reply.
func (c *Call) More() bool { return c.more }

// Oneway reports whether the client takes no reply at all. Replies to it are
// silently dropped.
func (c *Call) Oneway() bool { return c.oneway }

// Peer is who calls.
func (c *Call) Peer() Peer { return c.conn.peer }

// Detach gives a context that outlives the client: it ends with the server.
// The connection counts as one until the handler returns.
func (c *Call) Detach() context.Context { return c.base }

// Parameters decodes the parameters into the struct that v points to. They fit
// the interface description by then; what still cannot be decoded gives an
// InvalidParameter error, to be returned as it is.
func (c *Call) Parameters(v any) error {
	if err := json.Unmarshal(c.parameters, v); err == nil {
		return nil
	}
	// Only now is it worth while to find out which field it was.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(c.parameters, &fields); err != nil {
		return fmt.Errorf("decode parameters of %s: %w", c.method, err)
	}
	for name, raw := range fields {
		one, err := json.Marshal(map[string]json.RawMessage{name: raw})
		if err != nil {
			return fmt.Errorf("decode parameters of %s: %w", c.method, err)
		}
		if err := json.Unmarshal(one, reflect.New(reflect.TypeOf(v).Elem()).Interface()); err != nil {
			return InvalidParameter(name)
		}
	}
	return fmt.Errorf("decode parameters of %s: no single field is at fault", c.method)
}

// FDs are the descriptors that came with the call, in their order. They are
// closed when the handler returns; see [Call.TakeFD].
func (c *Call) FDs() []*os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*os.File(nil), c.files...)
}

// TakeFD makes descriptor number i, counted from 0, the handler's to close. It
// reports false if there is none or if it was taken before.
func (c *Call) TakeFD(i int) (*os.File, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i < 0 || i >= len(c.files) || c.files[i] == nil {
		return nil, false
	}
	f := c.files[i]
	c.files[i] = nil
	return f, true
}

// finish ends the use of the call by its handler.
func (c *Call) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.files {
		if f != nil {
			_ = f.Close()
			c.files[i] = nil
		}
	}
}

// Reply sends the final reply: v as a JSON object, nil for an empty one, with
// the files, which stay the caller's to close.
func (c *Call) Reply(v any, files ...*os.File) error {
	return c.answer(reply{Parameters: v}, files)
}

// Continue sends a reply that others will follow. If the client did not ask
// for more it returns an ExpectedMore error and sends nothing.
func (c *Call) Continue(v any, files ...*os.File) error {
	if !c.more {
		return ExpectedMore()
	}
	return c.answer(reply{Parameters: v, Continues: true}, files)
}

func (c *Call) answer(r reply, files []*os.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replied {
		return ErrReplied
	}
	if c.broken != nil {
		return c.broken
	}
	if c.check != nil {
		if err := c.checkReply(r); err != nil {
			return err
		}
	}
	// What cannot be sent at all leaves the connection as it was.
	data, err := marshal(r)
	if err == nil {
		err = checkSize(data, files)
	}
	if err != nil {
		return err
	}
	c.replied = !r.Continues
	if c.oneway {
		return nil
	}
	if err := c.conn.send(data, files); err != nil {
		c.broken = err
		c.conn.drop(err)
		return err
	}
	return nil
}

func (c *Call) checkReply(r reply) error {
	raw := []byte("{}")
	if r.Parameters != nil {
		var err error
		if raw, err = marshal(r.Parameters); err != nil {
			return err
		}
	}
	if err := c.check(raw); err != nil {
		return fmt.Errorf("check reply of %s: %w: %s", c.method, errMismatch, err.Error())
	}
	return nil
}

// marshal is json.Marshal without the escapes that are meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode varlink message: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

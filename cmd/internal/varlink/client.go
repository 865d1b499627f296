package varlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"sync/atomic"
)

// Client is a connection to a server. Calls of several goroutines wait for
// each other. A call that is given up half way, by its context or by leaving
// the loop over its replies, ends the connection: the protocol has no other
// way to say so.
type Client struct {
	nc     *net.UnixConn
	peer   Peer
	framer *framer
	turn   chan struct{} // holds a token while nobody calls
	broken atomic.Bool   // the socket is closed or of no more use
	closed atomic.Bool   // Close was called
}

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	c, err := NewClient(nc.(*net.UnixConn))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return c, nil
}

// NewClient speaks over a connection that is there already, and owns it.
func NewClient(nc *net.UnixConn) (*Client, error) {
	peer, err := peerOf(nc)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	c := &Client{nc: nc, peer: peer, turn: make(chan struct{}, 1)}
	c.framer = newFramer(func(p, oob []byte) (int, int, int, error) {
		n, oobn, flags, _, err := nc.ReadMsgUnix(p, oob)
		return n, oobn, flags, err
	}, true)
	c.turn <- struct{}{}
	return c, nil
}

// Peer is the server, as it was when it began to listen.
func (c *Client) Peer() Peer { return c.peer }

// Close ends the connection and with it a call that is under way.
func (c *Client) Close() error {
	c.broken.Store(true)
	c.closed.Store(true)
	err := c.nc.Close()
	c.release()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// release frees what a closed client holds, unless a call is under way: then
// the end of that call does it.
func (c *Client) release() {
	if !c.closed.Load() {
		return
	}
	select {
	case <-c.turn:
		c.framer.close()
		c.peer.close()
		c.peer.PIDFD = nil
		c.turn <- struct{}{}
	default:
	}
}

// Response is one of the replies of a call.
type Response struct {
	Parameters json.RawMessage
	Continues  bool
	Files      []*os.File // the receiver closes them
}

// Decode reads the parameters into v.
func (r Response) Decode(v any) error {
	if err := json.Unmarshal(r.Parameters, v); err != nil {
		return fmt.Errorf("decode varlink reply: %w", err)
	}
	return nil
}

// Close closes the files.
func (r Response) Close() { (&message{files: r.Files}).close() }

// Call calls a method with in as parameters, nil for none, and decodes the
// reply into out unless that is nil. Files are passed along and stay the
// caller's; those that come back are the caller's to close. If the server
// answers with an error it is an [*Error].
func (c *Client) Call(ctx context.Context, method string, in, out any, files ...*os.File) ([]*os.File, error) {
	var got []*os.File
	for r, err := range c.exchange(ctx, outgoing{Method: method, Parameters: in}, files) {
		if err != nil {
			return nil, err
		}
		if out != nil {
			if err := r.Decode(out); err != nil {
				r.Close()
				return nil, fmt.Errorf("call %s: %w", method, err)
			}
		}
		got = r.Files
	}
	return got, nil
}

// CallMore calls a method that may answer with several replies. The loop ends
// after the last one or with an error.
func (c *Client) CallMore(ctx context.Context, method string, in any, files ...*os.File) iter.Seq2[Response, error] {
	return c.exchange(ctx, outgoing{Method: method, Parameters: in, More: true}, files)
}

// CallOneway calls a method without waiting for anything.
func (c *Client) CallOneway(ctx context.Context, method string, in any, files ...*os.File) error {
	for _, err := range c.exchange(ctx, outgoing{Method: method, Parameters: in, Oneway: true}, files) {
		return err
	}
	return nil
}

// outgoing is the envelope of a call.
type outgoing struct {
	Method     string `json:"method"`
	Parameters any    `json:"parameters,omitempty"`
	More       bool   `json:"more,omitempty"`
	Oneway     bool   `json:"oneway,omitempty"`
}

// exchange sends a call when the loop over it begins, and yields its replies.
func (c *Client) exchange(ctx context.Context, call outgoing, files []*os.File) iter.Seq2[Response, error] {
	return func(yield func(Response, error) bool) {
		data, err := marshal(call)
		if err == nil {
			err = checkSize(data, files)
		}
		if err != nil {
			yield(Response{}, fmt.Errorf("call %s: %w", call.Method, err))
			return
		}
		select {
		case <-c.turn:
		case <-ctx.Done():
			yield(Response{}, fmt.Errorf("call %s: %w", call.Method, context.Cause(ctx)))
			return
		}
		defer func() {
			c.turn <- struct{}{}
			c.release()
		}()
		stop := context.AfterFunc(ctx, c.abandon)
		defer stop()
		if err := c.send(data, files); err != nil {
			yield(Response{}, c.failure(ctx, call.Method, err))
			return
		}
		if !call.Oneway {
			c.replies(ctx, call, yield)
		}
	}
}

func (c *Client) send(data []byte, files []*os.File) error {
	if c.broken.Load() {
		return net.ErrClosed
	}
	err := sendMessage(c.nc, data, files)
	if err != nil {
		c.abandon()
	}
	return err
}

func (c *Client) replies(ctx context.Context, call outgoing, yield func(Response, error) bool) {
	for {
		r, err := c.receive(call.More)
		if err != nil {
			yield(Response{}, c.failure(ctx, call.Method, err))
			return
		}
		if !yield(r, nil) {
			if r.Continues {
				c.abandon()
			}
			return
		}
		if !r.Continues {
			return
		}
	}
}

// receive reads one reply. Any error but the server's own breaks the connection.
func (c *Client) receive(more bool) (Response, error) {
	m, err := c.framer.next()
	if err != nil {
		c.abandon()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrDisconnected
		}
		return Response{}, err
	}
	r, err := parseReply(m.data)
	if err == nil && r.Continues && !more {
		err = fmt.Errorf("%w: several replies where one was asked for", ErrProtocol)
	}
	if err != nil {
		m.close()
		c.abandon()
		return Response{}, err
	}
	if r.Error != "" {
		m.close()
		return Response{}, &Error{Name: r.Error, Parameters: r.Parameters}
	}
	return Response{Parameters: r.Parameters, Continues: r.Continues, Files: m.files}, nil
}

type incoming struct {
	Parameters json.RawMessage
	Continues  bool
	Error      string
}

func parseReply(data []byte) (r incoming, err error) {
	if err := checkText(data); err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if len(r.Parameters) == 0 || string(r.Parameters) == "null" {
		r.Parameters = json.RawMessage("{}")
	}
	if r.Parameters[0] != '{' {
		return r, fmt.Errorf("%w: parameters of a reply are no object", ErrProtocol)
	}
	return r, nil
}

// abandon makes the connection useless, whatever it is in the middle of.
func (c *Client) abandon() {
	c.broken.Store(true)
	_ = c.nc.Close()
}

// failure tells why a call did not get its reply.
func (c *Client) failure(ctx context.Context, method string, err error) error {
	var answer *Error
	if errors.As(err, &answer) {
		return answer
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("call %s: %w", method, err)
}

package varlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a client of the server. One goroutine reads, so that a client that
// hangs up is noticed while its call is being worked on; the one of serve runs
// the handlers in turn.
type conn struct {
	server  *Server
	nc      *net.UnixConn
	peer    Peer
	inbox   *inbox
	release func()
	drop    context.CancelCauseFunc // ends what works for this client
}

// serve runs until the client or base, the context of the server, is gone.
func (c *conn) serve(base context.Context) {
	alive, drop := context.WithCancelCause(base)
	c.drop = drop
	stop := context.AfterFunc(base, func() {
		// First, so that this and not the closed socket is the cause.
		drop(context.Cause(base))
		_ = c.nc.Close()
	})
	var reader sync.WaitGroup
	reader.Go(c.read)
	for {
		m, ok := c.inbox.pop()
		if !ok {
			break
		}
		err := c.dispatch(base, alive, m)
		m.close()
		if err != nil {
			c.server.log.Debug("drop varlink connection", "error", err, "uid", c.peer.UID, "pid", c.peer.PID)
			break
		}
	}
	stop()
	_ = c.nc.Close()
	c.drop(ErrDisconnected)
	c.inbox.discard()
	reader.Wait()
	c.peer.close()
	c.server.quota.give(c.peer.UID)
	c.release()
}

// read moves messages from the socket to the inbox until the client is gone.
func (c *conn) read() {
	defer c.inbox.finish()
	framer := newFramer(func(p, oob []byte) (int, int, int, error) {
		n, oobn, flags, _, err := c.nc.ReadMsgUnix(p, oob)
		return n, oobn, flags, err
	}, c.server.opts.AcceptFDs)
	defer framer.close()
	for {
		c.awaitRoom()
		m, err := framer.next()
		if err == nil {
			c.inbox.push(m)
			continue
		}
		if errors.Is(err, io.EOF) {
			// A client may have closed only its sending side; it gets its
			// replies still.
			c.inbox.finish()
			if waitHangup(c.nc) != nil {
				return
			}
		} else if errors.Is(err, ErrProtocol) {
			c.server.log.Debug("drop varlink connection", "error", err, "uid", c.peer.UID, "pid", c.peer.PID)
			_ = c.nc.Close()
		}
		c.drop(ErrDisconnected)
		return
	}
}

// awaitRoom returns when the inbox can take a message. While it waits it still
// notices that the client hangs up.
func (c *conn) awaitRoom() {
	for c.inbox.stall() {
		err := waitHangup(c.nc)
		c.inbox.unstall()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		c.drop(ErrDisconnected)
		c.inbox.awaitRoom()
		return
	}
}

// waitHangup returns nil when both directions of the connection are closed by
// the peer, and an error when the read deadline passes or we close it.
func waitHangup(nc *net.UnixConn) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

type request struct {
	method                string
	parameters            json.RawMessage
	more, oneway, upgrade bool
}

// parseRequest reads the envelope of a call.
func parseRequest(data []byte) (r request, err error) {
	if err := checkText(data); err != nil {
		return r, err
	}
	var envelope map[string]json.RawMessage
	if err := json.Unmarshal(data, &envelope); err != nil {
		return r, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	for key, raw := range envelope {
		switch key {
		case "method":
			err = json.Unmarshal(raw, &r.method)
		case "parameters":
			if string(raw) != "null" {
				r.parameters = raw
			}
		case "more":
			err = json.Unmarshal(raw, &r.more)
		case "oneway":
			err = json.Unmarshal(raw, &r.oneway)
		case "upgrade":
			err = json.Unmarshal(raw, &r.upgrade)
		default:
			err = errors.New("unknown field of a call")
		}
		if err != nil {
			return r, fmt.Errorf("%w: %s: %w", ErrProtocol, key, err)
		}
	}
	if r.parameters == nil {
		r.parameters = json.RawMessage("{}")
	}
	if r.method == "" || r.more && r.oneway || r.parameters[0] != '{' {
		return r, fmt.Errorf("%w: malformed call", ErrProtocol)
	}
	return r, nil
}

// dispatch answers one call. An error means that the connection is of no more
// use.
func (c *conn) dispatch(base, alive context.Context, m message) error {
	r, err := parseRequest(m.data)
	if err != nil {
		return err
	}
	// Nobody waits for the reply any more; a oneway call never had one.
	if alive.Err() != nil && !r.oneway {
		return nil
	}
	call := &Call{conn: c, request: r, files: m.files, base: base}
	if r.oneway {
		alive = base
	}
	failure := c.run(alive, call)
	call.finish()
	switch {
	case r.oneway:
		if failure != nil {
			c.server.log.Debug("oneway call", "method", r.method, "error", failure)
		}
	case call.broken != nil:
		return call.broken
	case alive.Err() != nil:
	case call.replied:
		if failure != nil {
			c.server.log.Warn("error after the reply", "method", r.method, "error", failure)
		}
	case failure != nil:
		err = c.sendError(r.method, wireError(failure))
	default:
		err = c.send([]byte("{}"), nil)
	}
	return err
}

// run finds the handler and calls it, if the parameters are what it expects.
func (c *conn) run(ctx context.Context, call *Call) error {
	svc, name, err := c.server.lookup(call.method)
	if err != nil {
		return err
	}
	if call.upgrade {
		return InvalidParameter("upgrade")
	}
	if err := svc.check(svc.methods[name].in, call.parameters, svc.loose, svc.lax[name]); err != nil {
		return err
	}
	if c.server.opts.CheckReplies {
		call.check = func(raw json.RawMessage) error {
			return svc.check(svc.methods[name].out, raw, nil, false)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return svc.handlers[name](ctx, call)
}

// reply is the envelope of what a server sends.
type reply struct {
	Parameters any    `json:"parameters,omitempty"`
	Continues  bool   `json:"continues,omitempty"`
	Error      string `json:"error,omitempty"`
}

func (c *conn) sendError(method string, e *Error) error {
	if e.Name == ErrorSystem {
		c.server.log.Debug("call ended with a system error", "method", method, "error", e)
	}
	data, err := marshal(reply{Error: e.Name, Parameters: e.Parameters})
	if err != nil {
		return err
	}
	return c.send(data, nil)
}

// send writes one reply. A client that does not read for too long loses its
// connection.
func (c *conn) send(data []byte, files []*os.File) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.opts.WriteTimeout)); err != nil {
		return errors.Join(ErrDisconnected, err)
	}
	if err := sendMessage(c.nc, data, files); err != nil {
		return fmt.Errorf("send reply: %w", err)
	}
	return nil
}

package importapi

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"berth/importd"

	"github.com/godbus/dbus/v5"
)

// signalsQueued is how many signals wait for the client to look at them.
const signalsQueued = 4096

// errGone means that the importd which did a transfer has left the bus.
var errGone = errors.New("importd has ended, and with it the transfer")

// follow calls a method that starts a transfer and yields what it reports. The
// client listens before it calls: a transfer may be over when its id is known.
func (c *BusClient) follow(ctx context.Context, method string, args ...any) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		signals, stop, err := c.listen(ctx)
		if err != nil {
			yield(Update{}, err)
			return
		}
		defer stop()
		var id uint32
		var path dbus.ObjectPath
		reply, err := c.call(ctx, method, args...)
		if err == nil {
			err = dbus.Store(reply, &id, &path)
		}
		if err != nil {
			yield(Update{}, err)
			return
		}
		if !yield(Update{ID: id}, nil) {
			return
		}
		w := watch{id: id, path: path}
		for {
			select {
			case <-ctx.Done():
				yield(Update{}, context.Cause(ctx))
				return
			case s, ok := <-signals:
				u, over, err := w.see(s, ok)
				if over && err == nil || !yieldable(u, err, yield) || over {
					return
				}
			}
		}
	}
}

// yieldable passes on what there is to pass on; it is false if nobody wants more.
func yieldable(u Update, err error, yield func(Update, error) bool) bool {
	if err == nil && u == (Update{}) {
		return true
	}
	return yield(u, err)
}

// listen subscribes to all that importd says.
func (c *BusClient) listen(ctx context.Context) (_ <-chan *dbus.Signal, stop func(), err error) {
	matches := [][]dbus.MatchOption{
		{dbus.WithMatchSender(BusName), dbus.WithMatchPathNamespace(managerPath)},
		{dbus.WithMatchInterface(busInterface), dbus.WithMatchMember(ownerChanged), dbus.WithMatchArg(0, BusName)},
	}
	signals := make(chan *dbus.Signal, signalsQueued)
	c.conn.Signal(signals)
	for _, m := range matches {
		if err := c.conn.AddMatchSignalContext(ctx, m...); err != nil {
			c.conn.RemoveSignal(signals)
			return nil, nil, fmt.Errorf("listen to importd: %w", err)
		}
	}
	return signals, func() {
		c.conn.RemoveSignal(signals)
		for _, m := range matches {
			_ = c.conn.RemoveMatchSignal(m...) // the connection is over: so is the match
		}
	}, nil
}

const (
	busInterface = "org.freedesktop.DBus"
	ownerChanged = "NameOwnerChanged"
)

// priorityMask takes off the syslog facility, which systemd's importd sends along.
const priorityMask = 7

// watch follows one transfer among all signals.
type watch struct {
	id   uint32
	path dbus.ObjectPath
	// reason is the last error that the transfer told.
	reason string
}

// see looks at a signal; ok is false if the connection is over. It tells what the
// signal says of the transfer, whether that is over, and why it failed.
func (w *watch) see(s *dbus.Signal, ok bool) (u Update, over bool, err error) {
	if !ok {
		return u, true, errors.New("the bus has closed the connection")
	}
	switch s.Name {
	case transferName + ".LogMessage":
		var line importd.LogLine
		var priority uint32
		if s.Path == w.path && dbus.Store(s.Body, &priority, &line.Message) == nil {
			line.Priority = int(priority & priorityMask)
			if line.Priority <= importd.PriorityError {
				w.reason = line.Message
			}
			u.Log = &line
		}
	case transferName + ".ProgressUpdate":
		var share float64
		if s.Path == w.path && dbus.Store(s.Body, &share) == nil {
			u.Progress = &share
		}
	case managerName + ".TransferRemoved":
		var id uint32
		var path dbus.ObjectPath
		var result string
		if dbus.Store(s.Body, &id, &path, &result) == nil && id == w.id {
			return u, true, w.end(result)
		}
	case busInterface + "." + ownerChanged:
		var name, old, next string
		if dbus.Store(s.Body, &name, &old, &next) == nil && old != "" {
			return u, true, errGone
		}
	}
	return u, false, nil
}

// end is the error behind the result of a transfer.
func (w *watch) end(result string) error {
	switch {
	case result == "done":
		return nil
	case result == "canceled":
		return importd.ErrCanceled
	case w.reason != "":
		return &importd.Failure{Text: w.reason}
	}
	return &importd.Failure{Text: "the transfer has failed"}
}

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

// errBusClosed means that nothing more will be heard of any transfer.
var errBusClosed = errors.New("the bus has closed the connection")

// follow starts a transfer and yields what it reports. The client listens before
// it calls: a transfer may be over when its id is known.
func (c *BusClient) follow(ctx context.Context, s starting) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		signals, stop, err := c.listen(ctx)
		if err != nil {
			yield(Update{}, err)
			return
		}
		defer stop()
		w, err := c.begin(ctx, s, signals, yield)
		if errors.Is(err, errLeft) {
			return
		}
		if err != nil {
			yield(Update{}, err)
			return
		}
		if !yield(Update{ID: w.id}, nil) {
			return
		}
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
	// begun is where the answer stands that gave the id. What stands before it and
	// tells an end is of an importd that has ended since.
	begun dbus.Sequence
	// reason is the last error that the transfer told.
	reason string
}

// see looks at a signal; ok is false if the connection is over. It tells what the
// signal says of the transfer, whether that is over, and why it failed.
func (w *watch) see(s *dbus.Signal, ok bool) (u Update, over bool, err error) {
	if !ok {
		return u, true, errBusClosed
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
		if id, result := removed(s); id == w.id && s.Sequence >= w.begun {
			return u, true, w.end(result)
		}
	case busInterface + "." + ownerChanged:
		if hasEnded(s) && s.Sequence >= w.begun {
			return u, true, errGone
		}
	}
	return u, false, nil
}

// removed reads TransferRemoved. Of what is something else the id is 0, which no
// transfer has.
func removed(s *dbus.Signal) (id uint32, result string) {
	var path dbus.ObjectPath
	if s.Name != managerName+".TransferRemoved" || dbus.Store(s.Body, &id, &path, &result) != nil {
		return 0, ""
	}
	return id, result
}

// hasEnded says whether a signal tells that importd has left the bus.
func hasEnded(s *dbus.Signal) bool {
	var name, old, next string
	return s.Name == busInterface+"."+ownerChanged && dbus.Store(s.Body, &name, &old, &next) == nil && old != ""
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

package importapi

import (
	"context"
	"errors"
	"fmt"

	"berth/importd"

	"github.com/godbus/dbus/v5"
)

// starting is a call that starts a transfer.
type starting struct {
	method string
	args   []any
	// kind and remote are those of a pull. Over D-Bus importd refuses to pull a URL
	// that it is pulling.
	kind, remote string
}

func (s starting) by(method string, args ...any) starting {
	s.method, s.args = method, args
	return s
}

// errLeft means that nobody wants to hear more.
var errLeft = errors.New("the caller has left")

// unlistedMax is how often importd may say that a URL is being pulled and then not
// list who pulls it. It happens when that has just ended, and so hardly twice in a
// row.
const unlistedMax = 10

// begin starts a transfer. Where another one pulls the same URL it says so, waits
// for the end of that, whatever it be, and asks again.
func (c *BusClient) begin(ctx context.Context, s starting, signals <-chan *dbus.Signal, yield func(Update, error) bool) (watch, error) {
	for unlisted := 0; ; {
		w := watch{}
		reply, at, err := c.ask(ctx, s.method, s.args...)
		if err == nil {
			w.begun = at
			return w, dbus.Store(reply, &w.id, &w.path)
		}
		if busErrorName(err) != errorInProgress {
			return w, err
		}
		rival, listErr := c.rival(ctx, s)
		if listErr != nil {
			return w, listErr
		}
		if rival == 0 {
			if unlisted++; unlisted >= unlistedMax {
				return w, err
			}
			continue
		}
		unlisted = 0
		line := importd.LogLine{
			Priority: importd.PriorityNotice, Message: fmt.Sprintf("Waiting for transfer %d, which pulls the same URL.", rival),
		}
		if !yield(Update{Log: &line}, nil) {
			return w, errLeft
		}
		if err := awaitEnd(ctx, rival, signals); err != nil {
			return w, err
		}
	}
}

// rival is the id of a transfer that keeps s from being started, 0 if there is none.
func (c *BusClient) rival(ctx context.Context, s starting) (uint32, error) {
	list, err := c.ListTransfers(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, t := range list {
		if t.Type == s.kind && t.Remote == s.remote {
			return t.ID, nil
		}
	}
	return 0, nil
}

// awaitEnd waits until a transfer is over. It also is when its importd has ended.
func awaitEnd(ctx context.Context, id uint32, signals <-chan *dbus.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s, ok := <-signals:
			if !ok {
				return errBusClosed
			}
			if over, _ := removed(s); over == id || hasEnded(s) {
				return nil
			}
		}
	}
}

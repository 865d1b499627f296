package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/importapi"
	"berth/importd"
)

// errLeft says that the user did not wait for the end of a transfer.
var errLeft = errors.New("transfer goes on without us")

// follow shows what a transfer reports until it is over. It returns why the
// transfer failed; leaving does not end it.
func (t *tool) follow(ctx context.Context, updates iter.Seq2[importapi.Update, error]) error {
	f := &follower{monitor: t.Monitor("Total:"), tool: t.again()}
	defer f.monitor.End()
	var failed error
	for u, err := range updates {
		if err != nil {
			failed = err
			break
		}
		f.show(u)
	}
	if ctx.Err() != nil {
		return f.left()
	}
	f.settle(failed)
	if failed == nil {
		f.monitor.Set(1)
	}
	return failed
}

// follower shows one transfer.
type follower struct {
	monitor *console.Monitor
	// tool is this one, with the options that lead to the same importd.
	tool string
	id   uint32
	// held is an error that may be the reason of the failure, which is told by
	// main: it must not be read twice.
	held *importd.LogLine
}

func (f *follower) show(u importapi.Update) {
	switch {
	case u.ID != 0:
		f.id = u.ID
		f.monitor.Log(importd.PriorityInfo, fmt.Sprintf("This is transfer %d. It goes on in the background if you leave with Ctrl-C.", u.ID))
	case u.Progress != nil:
		f.monitor.Set(*u.Progress)
	case u.Log != nil:
		f.settle(nil)
		if u.Log.Priority <= importd.PriorityError {
			f.held = u.Log
			return
		}
		f.monitor.Log(u.Log.Priority, u.Log.Message)
	}
}

// settle shows an error that was held unless it is the reason of the end.
func (f *follower) settle(end error) {
	if f.held != nil && (end == nil || end.Error() != f.held.Message) {
		f.monitor.Log(f.held.Priority, f.held.Message)
	}
	f.held = nil
}

// left says what goes on now that the user has left.
func (f *follower) left() error {
	f.monitor.End()
	text := "Interrupted. If the transfer had begun, it goes on: see '" + f.tool + " list-transfers'."
	if f.id != 0 {
		text = fmt.Sprintf("Transfer %d goes on in the background. To cancel it: %s cancel-transfer %d", f.id, f.tool, f.id)
	}
	f.monitor.Log(importd.PriorityWarning, text)
	return fmt.Errorf("%w: %w", errLeft, &cli.Exit{Status: 1})
}

// again is how the tool is called for the same importd.
func (t *tool) again() string {
	return strings.Join(append([]string{t.Tool}, t.TargetOptions()...), " ")
}

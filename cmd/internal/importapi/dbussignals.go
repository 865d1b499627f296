package importapi

import (
	"context"
	"errors"

	"berth/importd"
)

// relay sends the events of all transfers as signals until ctx ends.
func (b *Bus) relay(ctx context.Context, events *importd.Subscription) {
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return
		}
		b.signal(e)
	}
}

func (b *Bus) signal(e importd.Event) {
	id := e.Transfer.ID
	path := transferPath(id)
	switch e.Kind {
	case importd.EventNew:
		b.service.Emit(managerPath, managerName+".TransferNew", id, path)
		b.order.told(id)
	case importd.EventLog:
		b.service.Emit(path, transferName+".LogMessage", uint32(e.Log.Priority), e.Log.Message)
	case importd.EventProgress:
		b.service.Emit(path, transferName+".ProgressUpdate", e.Transfer.Progress)
	case importd.EventRemoved:
		b.order.awaitReply(id)
		b.service.Emit(managerPath, managerName+".TransferRemoved", id, path, result(e.Err))
	}
}

// result is how a transfer ended, in the words of TransferRemoved.
func result(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, importd.ErrCanceled):
		return "canceled"
	}
	return "failed"
}

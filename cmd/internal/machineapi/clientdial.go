package machineapi

import (
	"context"

	"berth/cmd/internal/bus"
)

// DialBus connects to the message bus that machined of the target is on.
func DialBus(ctx context.Context, t bus.Target) (*BusClient, error) {
	conn, closeConn, err := bus.Dial(ctx, t)
	if err != nil {
		return nil, err
	}
	return &BusClient{conn: conn, close: closeConn, Interactive: true}, nil
}

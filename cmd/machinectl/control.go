package main

import (
	"context"
	"fmt"
	"syscall"

	"berth/cmd/internal/machineapi"
	"berth/machined"
)

// order is what a machine is told to do: by what controls it, where it has
// something like that, else by machined.
type order struct {
	instance string
	machined func(context.Context, daemon, string) error
}

// signalLeader is an order that the machine's init takes as a signal. Nobody
// waits for what it does then.
func signalLeader(s syscall.Signal) func(context.Context, daemon, string) error {
	return func(ctx context.Context, d daemon, name string) error {
		return d.Kill(ctx, name, machined.KillLeader, s)
	}
}

var (
	orderPowerOff  = order{machineapi.InstancePowerOff, signalLeader(signalPowerOff)}
	orderReboot    = order{machineapi.InstanceReboot, signalLeader(signalReboot)}
	orderTerminate = order{machineapi.InstanceTerminate, func(ctx context.Context, d daemon, name string) error {
		return d.Terminate(ctx, name)
	}}
	orderPause  = order{machineapi.InstancePause, uncontrolled}
	orderResume = order{machineapi.InstanceResume, uncontrolled}
)

func uncontrolled(ctx context.Context, d daemon, name string) error {
	if _, err := d.MachineProperties(ctx, name); err != nil {
		return err
	}
	return fmt.Errorf("machine '%s' has no control socket: only some virtual machines have one", name)
}

// give returns a verb that gives an order.
func (t *tool) give(o order) func(context.Context, []string) error {
	return t.each(func(ctx context.Context, d daemon, name string) error {
		return t.order(ctx, d, name, o)
	})
}

func (t *tool) order(ctx context.Context, d daemon, name string, o order) error {
	controlled := false
	err := t.controlling(ctx, name, func(i *machineapi.Instance) error {
		controlled = true
		return i.Order(ctx, o.instance)
	})
	if controlled || err != nil {
		return err
	}
	return o.machined(ctx, d, name)
}

// forget takes machines from the registry that nobody watches any more, and leaves
// their processes alone.
func forget(ctx context.Context, d daemon, name string) error { return d.Unregister(ctx, name) }

func (t *tool) kill(ctx context.Context, d daemon, name string) error {
	return d.Kill(ctx, name, t.whom, t.signal)
}

package bus

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

// AddHolder adds to an error of a daemon that cannot run beside another one which
// process owns its name on the bus at address. (The other's sockets may be the
// service manager's, and then say nothing of that.)
func AddHolder(ctx context.Context, err error, address, name string) error {
	if who := owner(ctx, address, name); who != "" {
		return fmt.Errorf("%w; on the bus, %s belongs to %s", err, name, who)
	}
	return err
}

// owner is empty if nobody owns the name, or there is no bus.
func owner(ctx context.Context, address, name string) string {
	conn, err := Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return ""
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	var owned bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned); err != nil || !owned {
		return ""
	}
	return holder(ctx, conn, name)
}

func holder(ctx context.Context, conn *dbus.Conn, name string) string {
	var pid uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0,
		name).Store(&pid); err != nil {
		return "an unknown process"
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, bytes.TrimSpace(comm))
}

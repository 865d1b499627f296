package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"
)

// showMachines prints the properties of machines, or of the pool of images.
func (t *tool) showMachines(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return t.Page(ctx, func(w io.Writer) error { return t.printProperties(w, poolProperties()) })
	}
	return t.connected(ctx, func(c *machineapi.Client) error {
		var lists [][]property
		for _, name := range names {
			m, err := c.Machine(ctx, name)
			if err != nil {
				return err
			}
			lists = append(lists, machineProperties(m, time.Local))
		}
		return t.Page(ctx, func(w io.Writer) error { return t.objects(w, lists) })
	})
}

// showImages prints the properties of images, or of their pool.
func (t *tool) showImages(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return t.showMachines(ctx, nil)
	}
	return t.connected(ctx, func(c *machineapi.Client) error {
		var lists [][]property
		for _, name := range names {
			i, err := c.Image(ctx, name)
			if err != nil {
				return err
			}
			lists = append(lists, imageProperties(i, time.Local))
		}
		return t.Page(ctx, func(w io.Writer) error { return t.objects(w, lists) })
	})
}

// poolPath is where images of machines are kept.
func poolPath() string { return images.SystemLocations("").Pool[images.ClassMachine] }

// poolProperties are those of the daemon. The pool is a directory among others:
// what it uses and may use is not accounted for.
func poolProperties() []property {
	return []property{{"PoolPath", poolPath()}, {"PoolUsage", unset}, {"PoolLimit", unset}}
}

// machineProperties are those of org.freedesktop.machine1.Machine, in its order.
func machineProperties(m machineapi.Machine, zone *time.Location) []property {
	list := []property{{"Name", m.Name}, {"Id", m.ID}}
	since, monotonic := "", ""
	if m.Timestamp != nil {
		since = cli.FormatTime(time.UnixMicro(int64(m.Timestamp.Realtime)), zone)
		monotonic = strconv.FormatUint(m.Timestamp.Monotonic, 10)
	}
	list = append(list,
		property{"Timestamp", since}, property{"TimestampMonotonic", monotonic},
		property{"Service", m.Service}, property{"Unit", m.Unit}, property{"Subgroup", m.Subgroup})
	list = append(list, processProperties("Leader", m.Leader)...)
	list = append(list, processProperties("Supervisor", m.Supervisor)...)
	cid := uint32(math.MaxUint32)
	if m.VSockCID != nil {
		cid = *m.VSockCID
	}
	return append(list,
		property{"Class", string(m.Class)}, property{"RootDirectory", m.RootDirectory},
		property{"VSockCID", fmt.Sprint(cid)}, property{"SSHAddress", m.SSHAddress},
		property{"SSHPrivateKeyPath", m.SSHPrivateKeyPath}, property{"ControlAddress", m.ControlAddress},
		// A machine that is listed has a living leader.
		property{"State", "running"}, property{"UID", fmt.Sprint(m.UID)})
}

func processProperties(role string, p *machineapi.ProcessID) []property {
	if p == nil {
		return []property{{role, "0"}, {role + "PIDFDId", "0"}}
	}
	return []property{{role, strconv.Itoa(p.PID)}, {role + "PIDFDId", strconv.FormatUint(p.PIDFDID, 10)}}
}

// imageProperties are those of org.freedesktop.machine1.Image, in its order.
func imageProperties(i machineapi.Image, zone *time.Location) []property {
	return []property{
		{"Name", i.Name},
		{"Path", i.Path},
		{"Type", string(i.Type)},
		{"ReadOnly", yesNo(i.ReadOnly)},
		{"CreationTimestamp", timeText(i.Created, zone)},
		{"ModificationTimestamp", timeText(i.Modified, zone)},
		{"Usage", knownText(i.Usage, unset)},
		{"Limit", knownText(i.Limit, "infinity")},
		{"UsageExclusive", knownText(i.UsageExclusive, unset)},
		{"LimitExclusive", knownText(i.LimitExclusive, "infinity")},
	}
}

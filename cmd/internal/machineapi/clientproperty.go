package machineapi

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

// Property is a property of a machine, of an image or of machined as it is on
// D-Bus. Its value has the Go type of its D-Bus type.
type Property struct {
	Name  string
	Value any
}

// The properties in the order in which they are shown.
var (
	machineOrder = []string{
		"Name", "Id", "Timestamp", "TimestampMonotonic", "Service", "Unit", "Subgroup", "Leader", "LeaderPIDFDId",
		"Supervisor", "SupervisorPIDFDId", "Class", "RootDirectory", "NetworkInterfaces", "VSockCID", "SSHAddress",
		"SSHPrivateKeyPath", "ControlAddress", "State", "UID",
	}
	imageOrder = []string{
		"Name", "Path", "Type", "ReadOnly", "CreationTimestamp", "ModificationTimestamp",
		"Usage", "Limit", "UsageExclusive", "LimitExclusive",
	}
	managerOrder = []string{"PoolPath", "PoolUsage", "PoolLimit"}
)

// ordered lists properties; those that nobody knows come last, by name.
func ordered(all map[string]dbus.Variant, order []string) (list []Property) {
	for _, name := range order {
		if value, ok := all[name]; ok {
			list = append(list, Property{name, value.Value()})
			delete(all, name)
		}
	}
	known := len(list)
	for name, value := range all {
		list = append(list, Property{name, value.Value()})
	}
	slices.SortFunc(list[known:], func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Description is what is known about a machine.
type Description struct {
	Machine
	State string
	// Interfaces are the host's ends of the machine's network links.
	Interfaces []int32
}

// Properties are those of the machine on D-Bus.
func (d Description) Properties() []Property {
	id, _ := hex.DecodeString(d.ID)
	var since Timestamp
	if d.Timestamp != nil {
		since = *d.Timestamp
	}
	leader, supervisor := ProcessID{}, ProcessID{}
	if d.Leader != nil {
		leader = *d.Leader
	}
	if d.Supervisor != nil {
		supervisor = *d.Supervisor
	}
	cid := uint32(math.MaxUint32)
	if d.VSockCID != nil {
		cid = *d.VSockCID
	}
	list := []Property{
		{"Name", d.Name},
		{"Id", id},
		{"Timestamp", since.Realtime},
		{"TimestampMonotonic", since.Monotonic},
		{"Service", d.Service},
		{"Unit", d.Unit},
		{"Subgroup", d.Subgroup},
		{"Leader", uint32(leader.PID)},
		{"LeaderPIDFDId", leader.PIDFDID},
		{"Supervisor", uint32(supervisor.PID)},
		{"SupervisorPIDFDId", supervisor.PIDFDID},
		{"Class", string(d.Class)},
		{"RootDirectory", d.RootDirectory},
		{"NetworkInterfaces", d.Interfaces},
		{"VSockCID", cid},
		{"SSHAddress", d.SSHAddress},
		{"SSHPrivateKeyPath", d.SSHPrivateKeyPath},
	}
	if d.ControlAddress != "" { // it has no place on D-Bus
		list = append(list, Property{"ControlAddress", d.ControlAddress})
	}
	return append(list, Property{"State", d.State}, Property{"UID", d.UID})
}

// Properties are those of the image on D-Bus.
func (i Image) Properties() []Property {
	size := func(n *uint64) uint64 {
		if n == nil {
			return math.MaxUint64
		}
		return *n
	}
	moment := func(t *int64) uint64 {
		if t == nil {
			return 0
		}
		return uint64(*t)
	}
	return []Property{
		{"Name", i.Name},
		{"Path", i.Path},
		{"Type", string(i.Type)},
		{"ReadOnly", i.ReadOnly},
		{"CreationTimestamp", moment(i.Created)},
		{"ModificationTimestamp", moment(i.Modified)},
		{"Usage", size(i.Usage)},
		{"Limit", size(i.Limit)},
		{"UsageExclusive", size(i.UsageExclusive)},
		{"LimitExclusive", size(i.LimitExclusive)},
	}
}

// describe is the way back from the properties of a machine.
func describe(list []Property) Description {
	var d Description
	var leader, supervisor ProcessID
	var since Timestamp
	for _, p := range list {
		switch value := p.Value.(type) {
		case string:
			d.setText(p.Name, value)
		case []byte:
			if p.Name == "Id" && !allZero(value) {
				d.ID = hex.EncodeToString(value)
			}
		case []int32:
			if p.Name == "NetworkInterfaces" {
				d.Interfaces = value
			}
		case uint32:
			setNumber(map[string]*uint32{"UID": &d.UID}, p.Name, value)
			setNumber(map[string]*int{"Leader": &leader.PID, "Supervisor": &supervisor.PID}, p.Name, int(value))
			if p.Name == "VSockCID" && value != math.MaxUint32 {
				d.VSockCID = &value
			}
		case uint64:
			setNumber(map[string]*uint64{
				"Timestamp": &since.Realtime, "TimestampMonotonic": &since.Monotonic,
				"LeaderPIDFDId": &leader.PIDFDID, "SupervisorPIDFDId": &supervisor.PIDFDID,
			}, p.Name, value)
		}
	}
	if since.Realtime != 0 {
		d.Timestamp = &since
	}
	if leader.PID != 0 {
		d.Leader = &leader
	}
	if supervisor.PID != 0 {
		d.Supervisor = &supervisor
	}
	return d
}

func setNumber[T any](fields map[string]*T, name string, value T) {
	if field := fields[name]; field != nil {
		*field = value
	}
}

func allZero(list []byte) bool {
	return !slices.ContainsFunc(list, func(b byte) bool { return b != 0 })
}

func (d *Description) setText(name, value string) {
	fields := map[string]*string{
		"Name": &d.Name, "Service": &d.Service, "Unit": &d.Unit, "Subgroup": &d.Subgroup,
		"Class": (*string)(&d.Class), "RootDirectory": &d.RootDirectory, "SSHAddress": &d.SSHAddress,
		"SSHPrivateKeyPath": &d.SSHPrivateKeyPath, "ControlAddress": &d.ControlAddress, "State": &d.State,
	}
	setNumber(fields, name, value)
}

// interfacesOf reads the list of a machine's links from its state file.
func interfacesOf(dir, name string) (list []int32) {
	for word := range strings.FieldsSeq(bus.StateField(dir, name, "NETIF")) {
		if n, err := strconv.ParseInt(word, 10, 32); err == nil && n > 0 {
			list = append(list, int32(n))
		}
	}
	return list
}

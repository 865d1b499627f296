package machineapi

import (
	_ "embed" // the interface descriptions
	"encoding/hex"
	"fmt"

	"berth/cmd/internal/wire"
	"berth/images"
	"berth/machined"
)

//go:embed io.systemd.Machine.varlink
var machineInterface string

//go:embed io.systemd.MachineImage.varlink
var imageInterface string

//go:embed io.berth.Machine.varlink
var berthInterface string

// Sockets of the system's machined; both serve all interfaces.
const (
	Socket      = "/run/systemd/machine/io.systemd.Machine"
	ImageSocket = "/run/systemd/machine/io.systemd.MachineImage"
)

const (
	machineName = "io.systemd.Machine"
	imageName   = "io.systemd.MachineImage"
	berthName   = "io.berth.Machine"
)

// ProcessID is a process on the wire.
type ProcessID struct {
	PID     int    `json:"pid"`
	PIDFDID uint64 `json:"pidfdId,omitempty"`
	BootID  string `json:"bootId,omitempty"`
}

// Timestamp is one moment on two clocks, in microseconds.
type Timestamp struct {
	Realtime  uint64 `json:"realtime"`
	Monotonic uint64 `json:"monotonic"`
}

// Address is an address of a machine; Family is an AF_ number.
type Address struct {
	Ifindex int   `json:"ifindex,omitempty"`
	Family  int   `json:"family"`
	Address []int `json:"address"`
}

// Machine is one reply of io.systemd.Machine.List, in the order of the stock
// daemon: people compare what varlinkctl prints.
type Machine struct {
	Name              string         `json:"name"`
	ID                string         `json:"id,omitempty"`
	Class             machined.Class `json:"class"`
	Service           string         `json:"service,omitempty"`
	RootDirectory     string         `json:"rootDirectory,omitempty"`
	Unit              string         `json:"unit,omitempty"`
	Subgroup          string         `json:"subgroup,omitempty"`
	Leader            *ProcessID     `json:"leader,omitempty"`
	Supervisor        *ProcessID     `json:"supervisor,omitempty"`
	Timestamp         *Timestamp     `json:"timestamp,omitempty"`
	VSockCID          *uint32        `json:"vSockCid,omitempty"`
	SSHAddress        string         `json:"sshAddress,omitempty"`
	SSHPrivateKeyPath string         `json:"sshPrivateKeyPath,omitempty"`
	ControlAddress    string         `json:"controlAddress,omitempty"`
	Addresses         []Address      `json:"addresses,omitempty"`
	OSRelease         []string       `json:"OSRelease,omitempty"`
	UIDShift          *uint32        `json:"UIDShift,omitempty"`
	UID               uint32         `json:"UID"`
}

func machineOnWire(m machined.Machine, bootID string) Machine {
	w := Machine{
		Name: m.Name, Service: m.Service, Class: m.Class, RootDirectory: m.RootDirectory,
		Unit: m.Unit, Subgroup: m.Subgroup, SSHAddress: m.SSHAddress,
		SSHPrivateKeyPath: m.SSHPrivateKeyPath, ControlAddress: m.ControlAddress, UID: m.UID,
		Leader: processOnWire(m.Leader, bootID), Supervisor: processOnWire(m.Supervisor, bootID),
	}
	if m.ID != [16]byte{} {
		w.ID = hex.EncodeToString(m.ID[:])
	}
	if m.Realtime != 0 {
		w.Timestamp = &Timestamp{m.Realtime, m.Monotonic}
	}
	if m.VSockCID != machined.AnyCID {
		w.VSockCID = &m.VSockCID
	}
	return w
}

// processOnWire gives the boot only where there is an inode number to go with.
func processOnWire(p machined.ProcessID, bootID string) *ProcessID {
	switch {
	case p.PID == 0:
		return nil
	case p.PIDFDID == 0:
		return &ProcessID{PID: p.PID}
	}
	return &ProcessID{p.PID, p.PIDFDID, bootID}
}

// Image is one reply of io.systemd.MachineImage.List.
type Image struct {
	Name           string       `json:"name"`
	Path           string       `json:"path,omitempty"`
	Type           images.Type  `json:"type"`
	Class          images.Class `json:"class"`
	ReadOnly       bool         `json:"readOnly"`
	Created        *int64       `json:"creationTimestamp,omitempty"`
	Modified       *int64       `json:"modificationTimestamp,omitempty"`
	Usage          *uint64      `json:"usage,omitempty"`
	UsageExclusive *uint64      `json:"usageExclusive,omitempty"`
	Limit          *uint64      `json:"limit,omitempty"`
	LimitExclusive *uint64      `json:"limitExclusive,omitempty"`
	Hostname       string       `json:"hostname,omitempty"`
	MachineID      string       `json:"machineId,omitempty"`
	MachineInfo    []string     `json:"machineInfo,omitempty"`
	OSRelease      []string     `json:"OSRelease,omitempty"`
}

func imageOnWire(i images.Image) Image {
	return Image{
		Name: i.Name, Path: i.Path, Type: i.Type, Class: i.Class, ReadOnly: i.ReadOnly,
		Created: wire.Microseconds(i.Created), Modified: wire.Microseconds(i.Modified),
		Usage: wire.Size(i.Usage), UsageExclusive: wire.Size(i.UsageExclusive),
		Limit: wire.Size(i.Limit), LimitExclusive: wire.Size(i.LimitExclusive),
	}
}

func (i *Image) describe(m images.Metadata) {
	i.Hostname = m.Hostname
	if m.MachineID != [16]byte{} {
		i.MachineID = hex.EncodeToString(m.MachineID[:])
	}
	i.MachineInfo, i.OSRelease = assignments(m.MachineInfo), assignments(m.OSRelease)
}

func assignments(fields []images.KeyValue) []string {
	var out []string
	for _, f := range fields {
		out = append(out, fmt.Sprintf("%s=%s", f.Key, f.Value))
	}
	return out
}

// execParameters are those of io.berth.Machine.Exec.
type execParameters struct {
	Name             string   `json:"name"`
	Command          []string `json:"command"`
	User             string   `json:"user,omitempty"`
	Environment      []string `json:"environment,omitempty"`
	WorkingDirectory string   `json:"workingDirectory,omitempty"`
	Interactive      bool     `json:"allowInteractiveAuthentication,omitempty"`
}

// execResult is the answer.
type execResult struct {
	ExitStatus int `json:"exitStatus"`
	Signal     int `json:"signal,omitempty"`
}

// execFailure is the content of io.berth.Machine.ExecFailed.
type execFailure struct {
	Reason     string `json:"reason"`
	ExitStatus int    `json:"exitStatus"`
}

// reason is the content of errors that carry one.
type reason struct {
	Reason string `json:"reason"`
}

// refusal is the content of io.berth.Machine.InvalidRequest.
type refusal struct {
	Parameter string `json:"parameter"`
	Reason    string `json:"reason"`
}

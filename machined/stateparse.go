package machined

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxStateFile bounds what is read of a state file, in bytes. The largest that
// a valid registration makes is below 64 KiB.
const maxStateFile = 128 << 10

var errCorrupt = errors.New("corrupt state file")

// parseState reads what formatState or the stock daemon wrote for the machine
// called name. Files of older releases lack UID and the pidfd inode numbers.
func parseState(name string, text []byte) (Machine, error) {
	if len(text) > maxStateFile {
		return Machine{}, fmt.Errorf("%w: it has more than %d bytes", errCorrupt, maxStateFile)
	}
	m := Machine{VSockCID: AnyCID, State: StateRunning}
	for rest := string(text); rest != ""; {
		key, value, after, err := nextAssignment(rest)
		if err != nil {
			return Machine{}, err
		}
		if key != "" {
			if err := m.setState(key, value); err != nil {
				return Machine{}, fmt.Errorf("%w: %s: %w", errCorrupt, key, err)
			}
		}
		rest = after
	}
	return m, m.checkState(name)
}

func (m *Machine) checkState(name string) error {
	switch {
	case m.Name != name:
		return fmt.Errorf("%w: it names the machine %q", errCorrupt, m.Name)
	case m.Class != ClassContainer && m.Class != ClassVM:
		return fmt.Errorf("%w: class %q", errCorrupt, m.Class)
	case m.Leader.PID <= 1:
		return fmt.Errorf("%w: leader %d", errCorrupt, m.Leader.PID)
	}
	return nil
}

func (m *Machine) setState(key, value string) (err error) {
	if text := m.textOf(key); text != nil {
		if !cleanText(value) {
			return fmt.Errorf("value %q", value)
		}
		*text = value
		return nil
	}
	switch key {
	case "UID":
		m.UID, err = parseUint32(value)
	case "ID":
		err = m.setID(value)
	case "LEADER":
		m.Leader.PID, err = parsePID(value)
	case "LEADER_PIDFDID":
		m.Leader.PIDFDID, err = strconv.ParseUint(value, 10, 64)
	case "SUPERVISOR":
		m.Supervisor.PID, err = parsePID(value)
	case "SUPERVISOR_PIDFDID":
		m.Supervisor.PIDFDID, err = strconv.ParseUint(value, 10, 64)
	case "CLASS":
		m.Class, err = ParseClass(value)
	case "REALTIME":
		m.Realtime, err = strconv.ParseUint(value, 10, 64)
	case "MONOTONIC":
		m.Monotonic, err = strconv.ParseUint(value, 10, 64)
	case "NETIF":
		err = m.setInterfaces(value)
	case "VSOCK_CID":
		m.VSockCID, err = parseUint32(value)
	case "SUPERVISED":
		m.supervised = value == "yes"
	case "MANAGED":
		m.managed = value == "yes"
	}
	return err
}

// textOf is the field that a key with free text sets, nil for other keys.
func (m *Machine) textOf(key string) *string {
	switch key {
	case "NAME":
		return &m.Name
	case "SCOPE":
		return &m.Unit
	case "SERVICE":
		return &m.Service
	case "ROOT":
		return &m.RootDirectory
	case "SSH_ADDRESS":
		return &m.SSHAddress
	case "SSH_PRIVATE_KEY_PATH":
		return &m.SSHPrivateKeyPath
	case "CONTROL_ADDRESS":
		return &m.ControlAddress
	case "SUBGROUP":
		return &m.Subgroup
	case "CGROUP":
		return &m.cgroup
	}
	return nil
}

func (m *Machine) setID(value string) error {
	id, err := hex.DecodeString(value)
	if err != nil {
		return err
	}
	if len(id) != len(m.ID) {
		return fmt.Errorf("%d bytes", len(id))
	}
	copy(m.ID[:], id)
	return nil
}

func (m *Machine) setInterfaces(value string) error {
	var indices []int
	for word := range strings.FieldsSeq(value) {
		index, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		indices = append(indices, index)
	}
	m.NetworkInterfaces = indices
	return validInterfaces(indices)
}

func parseUint32(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

func parsePID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

package nsenter

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// status is what Exec takes over from the leader (proc_pid_status(5)).
type status struct {
	bounding   uint64 // CapBnd
	noNewPrivs bool
	seccomp    uint64 // 0: no filters of system calls
}

func (t Target) status() (status, error) {
	data, err := os.ReadFile(t.proc("status"))
	if err != nil {
		return status{}, fmt.Errorf("read status of leader: %w", t.cause(err))
	}
	if err := t.Alive(); err != nil {
		return status{}, err
	}
	st, err := parseStatus(string(data))
	if err != nil {
		return status{}, fmt.Errorf("read status of leader: %w", err)
	}
	return st, nil
}

func parseStatus(text string) (status, error) {
	var st status
	seen := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "CapBnd":
			bounding, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return status{}, fmt.Errorf("bounding set %q: %w", value, err)
			}
			st.bounding, seen = bounding, true
		case "Seccomp":
			mode, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return status{}, fmt.Errorf("mode of seccomp %q: %w", value, err)
			}
			st.seccomp = mode
		case "NoNewPrivs":
			st.noNewPrivs = value != "0"
		}
	}
	if !seen {
		return status{}, fmt.Errorf("no bounding set: %w", os.ErrNotExist)
	}
	return st, nil
}

// lastCapability is the highest capability that this kernel knows.
func lastCapability() (uint, error) {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, fmt.Errorf("read last capability: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 6)
	if err != nil {
		return 0, fmt.Errorf("read last capability: %w", err)
	}
	return uint(n), nil
}

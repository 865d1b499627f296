package machined

import (
	"bytes"
	"encoding/hex"
	"os"

	"golang.org/x/sys/unix"
)

// hostMachine describes the host itself, as it is for as long as the daemon runs: the
// clock is set now and then, and the time of the start is not to move with it. What
// cannot be told stays zero.
func hostMachine() Machine {
	m := Machine{
		Name: HostName, Class: ClassHost, Unit: "-.slice", RootDirectory: "/", Leader: ProcessID{PID: 1},
		VSockCID: AnyCID, State: StateRunning, Realtime: bootTime(),
	}
	if text, err := os.ReadFile("/etc/machine-id"); err == nil {
		if id, err := hex.DecodeString(string(bytes.TrimSpace(text))); err == nil && len(id) == len(m.ID) {
			copy(m.ID[:], id)
		}
	}
	if p, err := OpenProcess(1); err == nil {
		m.Leader = p.ProcessID
		_ = p.Close() // nothing was written
	}
	return m
}

// bootTime is when the host was started, in µs of the real-time clock.
func bootTime() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // exists since 2.6.39
	realtime, _ := now()
	return realtime - uint64(ts.Nano()/1000)
}

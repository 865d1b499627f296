package unitstest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"berth/machined"
)

// members returns the PIDs of the living processes among roots and of all their
// descendants.
func members(roots []*machined.Process) map[int]struct{} {
	found := map[int]struct{}{}
	for _, root := range roots {
		if root.Alive() {
			found[root.PID] = struct{}{}
		}
	}
	parents := parents()
	for again := true; again; {
		again = false
		for pid, parent := range parents {
			_, in := found[parent]
			if _, had := found[pid]; in && !had {
				found[pid] = struct{}{}
				again = true
			}
		}
	}
	return found
}

func parents() map[int]int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	list := map[int]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent := parent(pid); parent != 0 {
			list[pid] = parent
		}
	}
	return list
}

// parent is 0 for a process that has ended.
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// PID (NAME) STATE PPID …; the name may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 || fields[0][0] == 'Z' {
		return 0
	}
	n, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return n
}

func signalAll(pids map[int]struct{}, sig syscall.Signal) (sent int) {
	for pid := range pids {
		if syscall.Kill(pid, sig) == nil {
			sent++
		}
	}
	return sent
}

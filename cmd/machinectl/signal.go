package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Real-time signals as the C library counts them.
const (
	firstRealtime syscall.Signal = 34
	lastRealtime  syscall.Signal = 64
)

// What a machine's init takes as orders.
const (
	signalPowerOff = firstRealtime + 4
	signalReboot   = syscall.SIGINT
)

// parseSignal reads a name with or without SIG, RTMIN+N, RTMAX-N, or a number.
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n > 0 && n <= uint64(lastRealtime) {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(text, "SIG")
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	for base, sign := range map[string]int{"RTMIN": 1, "RTMAX": -1} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			n, err := strconv.Atoi(rest)
			if err != nil || n*sign < 0 {
				break
			}
			offset = n
		}
		start := firstRealtime
		if sign < 0 {
			start = lastRealtime
		}
		if s := start + syscall.Signal(offset); s >= firstRealtime && s <= lastRealtime {
			return s, nil
		}
	}
	return 0, fmt.Errorf("there is no such signal")
}

// signalNames lists all signals by number.
func signalNames() []string {
	var names []string
	for s := syscall.Signal(1); s < firstRealtime; s++ {
		if name := unix.SignalName(s); name != "" {
			names = append(names, name)
		}
	}
	names = append(names, "SIGRTMIN")
	for n := range int(lastRealtime-firstRealtime) - 1 {
		names = append(names, fmt.Sprintf("SIGRTMIN+%d", n+1))
	}
	return append(names, "SIGRTMAX")
}

func (t *tool) setSignal(text string) (err error) {
	if slices.Contains([]string{"help", "list"}, text) {
		t.Listed = true
		for _, name := range signalNames() {
			fmt.Fprintln(t.Stdout, name)
		}
		return nil
	}
	t.signal, err = parseSignal(text)
	return err
}

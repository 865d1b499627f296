package helper

import (
	"fmt"
	"strconv"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/importd"

	"github.com/coreos/go-systemd/v22/daemon"
)

// The environment by which a service manager or an importd that starts a helper
// says what it wants to read.
const (
	logLevelVariable  = "SYSTEMD_LOG_LEVEL"
	logTargetVariable = "SYSTEMD_LOG_TARGET"
	// prefixed lines begin with "<N>", the syslog priority.
	prefixed = "console-prefixed"
)

// progressKey is what systemd-sysupdate and importd look for in notifications.
const progressKey = "X_IMPORT_PROGRESS"

// reporter returns what shows a transfer: lines and a bar on standard error, and
// notifications to whoever asked for them.
func (h *helper) reporter() func(importd.Event) {
	var monitor *console.Monitor
	if h.Getenv(logTargetVariable) != prefixed {
		monitor = h.Monitor("Total:")
	}
	told := -1
	return func(e importd.Event) {
		switch e.Kind {
		case importd.EventLog:
			if monitor == nil {
				h.log(e.Log.Priority, e.Log.Message)
			} else if e.Log.Priority <= h.logLevel() {
				monitor.Log(e.Log.Priority, e.Log.Message)
			}
		case importd.EventProgress:
			if percent := int(e.Transfer.Progress * 100); percent > told && percent <= 100 {
				told = percent
				// Nobody may be listening any more.
				_, _ = daemon.SdNotify(false, fmt.Sprintf("%s=%d%%", progressKey, percent))
			}
			if monitor != nil {
				monitor.Set(e.Transfer.Progress)
			}
		case importd.EventNew, importd.EventRemoved:
		}
	}
}

// log writes a line to standard error.
func (h *helper) log(priority int, text string) {
	if priority > h.logLevel() {
		return
	}
	if h.Getenv(logTargetVariable) == prefixed {
		fmt.Fprintf(h.Stderr, "<%d>%s\n", priority, cli.Printable(text))
		return
	}
	m := h.Monitor("")
	m.Log(priority, text)
	m.End()
}

// fail says what went wrong and returns the exit status.
func (h *helper) fail(err error) int {
	if err == nil {
		return 0
	}
	if h.Getenv(logTargetVariable) == prefixed {
		h.log(importd.PriorityError, console.OneLine(err))
		return 1
	}
	return h.Fail(err)
}

// logLevel is the priority of the least urgent messages that are shown.
func (h *helper) logLevel() int {
	names := []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	text := h.Getenv(logLevelVariable)
	for priority, name := range names {
		if text == name || text == strconv.Itoa(priority) {
			return priority
		}
	}
	return importd.PriorityInfo
}

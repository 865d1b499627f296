package machineapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

const (
	unitsName    = "org.freedesktop.systemd1"
	unitsManager = unitsName + ".Manager"
)

var unitsObject = object{unitsName, "/org/freedesktop/systemd1"}

// UnitChange is what enabling or disabling changed on disk.
type UnitChange struct {
	// Type is "symlink", "unlink" or an error that came up.
	Type string
	// File is the link, Source what it leads to.
	File, Source string
}

// JobError is a unit that did not start.
type JobError struct {
	Unit string
	// Result is how its job ended: "failed", "timeout", "canceled", "dependency" …
	Result string
	// Reason is how the service itself failed, "" if that is not known.
	Reason string
}

// Error tells what happened to the unit, and where more about it is.
func (e *JobError) Error() string {
	reason := serviceFailures[e.Reason]
	if reason == "" {
		reason = jobFailures[e.Result]
	}
	if reason == "" {
		reason = fmt.Sprintf("its job ended with '%s'", e.Result)
	}
	return fmt.Sprintf("%[1]s did not start: %[2]s; see 'systemctl status %[1]s' and 'journalctl -xeu %[1]s'", e.Unit, reason)
}

var serviceFailures = map[string]string{
	"resources":       "something that it needs could not be had",
	"protocol":        "it did not behave as its unit says",
	"timeout":         "it took too long",
	"exit-code":       "its process ended with an error",
	"signal":          "its process was ended by a signal",
	"core-dump":       "its process crashed",
	"watchdog":        "it stopped giving signs of life",
	"start-limit-hit": "it was started too often in a short time",
	"oom-kill":        "its process was ended for lack of memory",
}

var jobFailures = map[string]string{
	"canceled":    "the job was canceled",
	"timeout":     "the job took too long",
	"dependency":  "a unit that it depends on did not start",
	"invalid":     "its unit is not in use for this",
	"assert":      "an assertion of its unit does not hold",
	"unsupported": "this system does not support such units",
	"collected":   "its unit went away",
	"once":        "it ran once already",
	"frozen":      "it is frozen",
	"concurrency": "too many of its kind run already",
}

// StartUnits starts units and waits until all have started. Those that did not
// are [JobError] values, joined.
func (c *BusClient) StartUnits(ctx context.Context, units []string) error {
	signals := make(chan *dbus.Signal, atOnce+len(units))
	c.conn.Signal(signals)
	defer c.conn.RemoveSignal(signals)
	err := c.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(unitsName),
		dbus.WithMatchInterface(unitsManager), dbus.WithMatchMember("JobRemoved"))
	if err != nil {
		return callError(ctx, "AddMatch", err)
	}
	// Without a subscriber the service manager sends none of its signals.
	if err := c.call(ctx, unitsObject, unitsManager, "Subscribe", nil); err != nil && !alreadySubscribed(err) {
		return err
	}
	waiting := make(map[dbus.ObjectPath]string)
	var started error
	for _, unit := range units {
		var job dbus.ObjectPath
		if err := c.call(ctx, unitsObject, unitsManager, "StartUnit", []any{&job}, unit, "fail"); err != nil {
			started = fmt.Errorf("start %s: %w", unit, err)
			break // what was started is waited for
		}
		waiting[job] = unit
	}
	return errors.Join(c.awaitJobs(ctx, signals, waiting), started)
}

func alreadySubscribed(err error) bool {
	e, ok := errors.AsType[*CallError](err)
	return ok && e.Name == unitsName+".AlreadySubscribed"
}

func (c *BusClient) awaitJobs(ctx context.Context, signals <-chan *dbus.Signal, waiting map[dbus.ObjectPath]string) (failed error) {
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s, open := <-signals:
			if !open {
				return errors.New("the connection to the service manager is lost")
			}
			var id uint32
			var job dbus.ObjectPath
			var unit, result string
			if s.Name != unitsManager+".JobRemoved" || dbus.Store(s.Body, &id, &job, &unit, &result) != nil || waiting[job] == "" {
				continue
			}
			delete(waiting, job)
			if result != "done" && result != "skipped" {
				failed = errors.Join(failed, &JobError{Unit: unit, Result: result, Reason: c.serviceResult(ctx, unit)})
			}
		}
	}
	return failed
}

// serviceResult is how a service failed, "" if it did not or cannot be asked.
func (c *BusClient) serviceResult(ctx context.Context, unit string) string {
	var path dbus.ObjectPath
	var result dbus.Variant
	if c.call(ctx, unitsObject, unitsManager, "GetUnit", []any{&path}, unit) != nil {
		return ""
	}
	err := c.call(ctx, object{unitsName, path}, "org.freedesktop.DBus.Properties", "Get", []any{&result}, unitsName+".Service", "Result")
	if err != nil {
		return ""
	}
	text, _ := result.Value().(string)
	return text
}

// EnableUnits has units started at boot from now on.
func (c *BusClient) EnableUnits(ctx context.Context, units []string) (changes []UnitChange, err error) {
	var carries bool
	err = c.call(ctx, unitsObject, unitsManager, "EnableUnitFiles", []any{&carries, &changes}, units, false, false)
	return c.reloaded(ctx, changes, err)
}

// DisableUnits has units not started at boot any more.
func (c *BusClient) DisableUnits(ctx context.Context, units []string) (changes []UnitChange, err error) {
	err = c.call(ctx, unitsObject, unitsManager, "DisableUnitFiles", []any{&changes}, units, false)
	return c.reloaded(ctx, changes, err)
}

func (c *BusClient) reloaded(ctx context.Context, changes []UnitChange, err error) ([]UnitChange, error) {
	if err == nil {
		err = c.call(ctx, unitsObject, unitsManager, "Reload", nil)
	}
	return changes, err
}

// UnitProcess is a process of a unit.
type UnitProcess struct {
	Group   string // the path of its control group
	PID     uint32
	Command string
}

// UnitProcesses lists the processes of a unit.
func (c *BusClient) UnitProcesses(ctx context.Context, unit string) (list []UnitProcess, err error) {
	err = c.call(ctx, unitsObject, unitsManager, "GetUnitProcesses", []any{&list}, unit)
	return list, err
}

package bus

import (
	"context"
	"slices"

	"github.com/godbus/dbus/v5"
)

// LogControlPath is where every daemon has its [LogControl] object.
const LogControlPath dbus.ObjectPath = "/org/freedesktop/LogControl1"

// LogControl is what org.freedesktop.LogControl1 steers.
type LogControl struct {
	Priority    func() int // syslog priority, 0 to 7
	SetPriority func(int)
	Target      string // where the log goes, as systemd names it: "journal", "console"
	Identifier  string
}

var priorityNames = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// Object makes the object.
func (l LogControl) Object() *Object {
	text := func(get func() string) func(context.Context) (any, error) {
		return func(context.Context) (any, error) { return get(), nil }
	}
	return &Object{Interfaces: []*Interface{{
		Name: "org.freedesktop.LogControl1",
		Properties: []Property{
			{
				Name: "LogLevel", Type: "s", Emits: EmitsFalse,
				Get: text(func() string { return priorityNames[min(max(l.Priority(), 0), 7)] }),
				Set: l.setLevel,
			},
			{
				Name: "LogTarget", Type: "s", Emits: EmitsFalse,
				Get: text(func() string { return l.Target }),
				Set: l.setTarget,
			},
			{
				Name: "SyslogIdentifier", Type: "s", Emits: EmitsFalse,
				Get: text(func() string { return l.Identifier }),
			},
		},
	}}}
}

func (l LogControl) setLevel(_ context.Context, v dbus.Variant) error {
	name, _ := v.Value().(string)
	i := slices.Index(priorityNames, name)
	if i < 0 {
		return errorf(ErrorInvalidArgs, "no log level %q", name)
	}
	l.SetPriority(i)
	return nil
}

// setTarget takes the present target only: ours is given by what stderr is.
func (l LogControl) setTarget(_ context.Context, v dbus.Variant) error {
	name, _ := v.Value().(string)
	known := []string{
		"auto", "console", "console-prefixed", "journal", "journal-or-kmsg", "kmsg", "null", "syslog", "syslog-or-kmsg",
	}
	switch {
	case name == l.Target:
		return nil
	case slices.Contains(known, name):
		return errorf(ErrorNotSupported, "the log goes to %s and nowhere else", l.Target)
	}
	return errorf(ErrorInvalidArgs, "no log target %q", name)
}

package polkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/godbus/dbus/v5"
)

const (
	authorityName   = "org.freedesktop.PolicyKit1"
	authorityPath   = dbus.ObjectPath("/org/freedesktop/PolicyKit1/Authority")
	authorityPrefix = "org.freedesktop.PolicyKit1.Authority."

	// flagInteractive lets polkit ask somebody for a password.
	flagInteractive uint32 = 1
)

// Authority asks polkit. Where there is no bus or no polkit on it, Local decides.
type Authority struct {
	// Conn gives the connection to the system bus, nil while there is none.
	Conn  func() *dbus.Conn
	Local Local
}

// cancellations numbers the questions of this process.
var cancellations atomic.Uint64

// Result is what polkit tells besides yes.
type Result struct {
	// Administrator means that somebody has given an administrator's password
	// for this, now or a short while ago.
	Administrator bool
}

// Check returns nil, [ErrDenied] or [ErrInteractive].
func (a Authority) Check(ctx context.Context, who Subject, action string, details map[string]string, interactive bool) error {
	_, err := a.Ask(ctx, who, action, details, interactive)
	return err
}

// Ask is Check that also tells how the answer came about. It may take as long
// as somebody needs to type a password; the end of ctx ends the question.
func (a Authority) Ask(ctx context.Context, who Subject, action string, details map[string]string, interactive bool) (Result, error) {
	if who.UID == 0 || int(who.UID) == os.Geteuid() {
		return Result{}, nil
	}
	var conn *dbus.Conn
	if a.Conn != nil {
		conn = a.Conn()
	}
	if conn == nil {
		return Result{}, a.Local.Check(ctx, who, action, details, interactive)
	}
	subject, err := describe(who)
	if err != nil {
		return Result{}, fmt.Errorf("%s for user %d: %w: %w", action, who.UID, ErrDenied, err)
	}
	answer, err := question{conn, subject, action, details, interactive}.ask(ctx)
	switch {
	case isAbsent(err):
		return Result{}, a.Local.Check(ctx, who, action, details, interactive)
	case err != nil:
		return Result{}, fmt.Errorf("ask polkit about %s: %w", action, err)
	case answer.Authorized:
		how := answer.Details["polkit.result"]
		return Result{Administrator: how == "auth_admin" || how == "auth_admin_keep"}, nil
	case answer.Challenge:
		return Result{}, fmt.Errorf("%s for user %d: %w", action, who.UID, ErrInteractive)
	}
	return Result{}, fmt.Errorf("%s for user %d: %w", action, who.UID, ErrDenied)
}

// subject is polkit's form of a [Subject].
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

func describe(who Subject) (subject, error) {
	if who.BusName != "" {
		return subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(who.BusName)}}, nil
	}
	if who.PIDFD == nil {
		return subject{}, errors.New("caller's process is not known for certain")
	}
	details := map[string]dbus.Variant{
		"pidfd": dbus.MakeVariant(dbus.UnixFD(who.PIDFD.Fd())),
		"uid":   dbus.MakeVariant(int32(who.UID)),
	}
	// Polkit before 124 knows processes by number and time of start only; later
	// ones do not look at these if there is a pidfd.
	start, err := startTime(who.PID)
	if err == nil && alive(who.PIDFD) {
		details["pid"] = dbus.MakeVariant(uint32(who.PID))
		details["start-time"] = dbus.MakeVariant(start)
	}
	return subject{"unix-process", details}, nil
}

// startTime reads field 22 of /proc/PID/stat, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name of the program, field 2, may hold anything but ends with the
	// last parenthesis.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("process %d: short stat file", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// question is one CheckAuthorization.
type question struct {
	conn        *dbus.Conn
	subject     subject
	action      string
	details     map[string]string
	interactive bool
}

type answer struct {
	Authorized, Challenge bool
	Details               map[string]string
}

func (q question) ask(ctx context.Context) (answer, error) {
	details := q.details
	if details == nil {
		details = map[string]string{}
	}
	var flags uint32
	if q.interactive {
		flags = flagInteractive
	}
	id := fmt.Sprintf("berth-%d-%d", os.Getpid(), cancellations.Add(1))
	authority := q.conn.Object(authorityName, authorityPath)
	var got answer
	err := authority.CallWithContext(ctx, authorityPrefix+"CheckAuthorization", 0,
		q.subject, q.action, details, flags, id).Store(&got)
	if err != nil && ctx.Err() != nil {
		// Takes the dialogue off somebody's screen; nothing hangs on it.
		_ = authority.Call(authorityPrefix+"CancelCheckAuthorization", dbus.FlagNoReplyExpected, id).Err
		return answer{}, context.Cause(ctx)
	}
	return got, err
}

// isAbsent recognises the bus telling that there is no polkit.
func isAbsent(err error) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.Spawn.ServiceNotFound":
		return true
	}
	return strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.Spawn.")
}

package varlink

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names of the errors of org.varlink.service, and of the one that carries an
// errno.
const (
	ErrorInterfaceNotFound    = "org.varlink.service.InterfaceNotFound"
	ErrorMethodNotFound       = "org.varlink.service.MethodNotFound"
	ErrorMethodNotImplemented = "org.varlink.service.MethodNotImplemented"
	ErrorInvalidParameter     = "org.varlink.service.InvalidParameter"
	ErrorPermissionDenied     = "org.varlink.service.PermissionDenied"
	ErrorExpectedMore         = "org.varlink.service.ExpectedMore"
	ErrorSystem               = "io.systemd.System"
)

// ErrDisconnected says that the peer has hung up. It is the cause of the
// context of a call whose client went away.
var ErrDisconnected = errors.New("varlink peer disconnected")

// Error is an error reply. A handler returns one to send it; a client gets one
// from a call that failed at the server, with Parameters a json.RawMessage.
type Error struct {
	Name       string // fully qualified: interface, dot, name
	Parameters any    // marshalled as a JSON object; nil is an empty one
}

func (e *Error) Error() string {
	var p systemParameters
	if e.Name == ErrorSystem && e.Decode(&p) == nil && p.Message != "" {
		return p.Message
	}
	if e.Parameters == nil {
		return e.Name
	}
	text, err := json.Marshal(e.Parameters)
	if err != nil || string(text) == "{}" {
		return e.Name
	}
	return e.Name + " " + string(text)
}

// Is makes errors of the same name equal for errors.Is, whatever they carry.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Name == e.Name
}

// Decode reads the parameters of an error that a client received into v.
func (e *Error) Decode(v any) error {
	text, err := json.Marshal(e.Parameters)
	if err != nil {
		return fmt.Errorf("encode parameters of %s: %w", e.Name, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode parameters of %s: %w", e.Name, err)
	}
	return nil
}

// Unwrap gives the errno of an io.systemd.System error, so that errors.Is
// works with syscall.Errno on both sides of the wire.
func (e *Error) Unwrap() error {
	if e.Name != ErrorSystem {
		return nil
	}
	var p systemParameters
	if err := e.Decode(&p); err == nil && p.Errno > 0 && p.Origin == "linux" {
		return syscall.Errno(p.Errno)
	}
	return nil
}

// InvalidParameter says that the named parameter is unknown, missing, or of a
// wrong type or value.
func InvalidParameter(name string) *Error {
	return &Error{Name: ErrorInvalidParameter, Parameters: map[string]string{"parameter": name}}
}

// PermissionDenied says that this caller may not do this.
func PermissionDenied() *Error { return &Error{Name: ErrorPermissionDenied} }

// ExpectedMore says that the method has to be called with the "more" flag.
func ExpectedMore() *Error { return &Error{Name: ErrorExpectedMore} }

func methodError(name, method string) *Error {
	return &Error{Name: name, Parameters: map[string]string{"method": method}}
}

type systemParameters struct {
	Origin    string `json:"origin"`
	Errno     int    `json:"errno"`
	ErrnoName string `json:"errnoName"`
	// Message is not in the interface description: it keeps the step that
	// failed, which an errno alone does not tell.
	Message string `json:"message,omitempty"`
}

// SystemError turns any error into io.systemd.System: with the errno that it
// wraps, or EIO if there is none, and with its text if that says more.
func SystemError(err error) *Error {
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno == 0 {
		errno = syscall.EIO
	}
	p := systemParameters{Origin: "linux", Errno: int(errno), ErrnoName: unix.ErrnoName(errno)}
	if text := err.Error(); text != errno.Error() {
		p.Message = text
	}
	return &Error{Name: ErrorSystem, Parameters: p}
}

// wireError finds the reply for an error that a handler returned.
func wireError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return SystemError(err)
}

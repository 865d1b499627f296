package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Names of generic errors.
const (
	errorPrefix           = "org.freedesktop.DBus.Error."
	ErrorAccessDenied     = errorPrefix + "AccessDenied"
	ErrorFailed           = errorPrefix + "Failed"
	ErrorInteractive      = errorPrefix + "InteractiveAuthorizationRequired"
	ErrorInvalidArgs      = errorPrefix + "InvalidArgs"
	ErrorLimitsExceeded   = errorPrefix + "LimitsExceeded"
	ErrorNameHasNoOwner   = errorPrefix + "NameHasNoOwner"
	ErrorNotSupported     = errorPrefix + "NotSupported"
	ErrorPropertyReadOnly = errorPrefix + "PropertyReadOnly"
	ErrorServiceUnknown   = errorPrefix + "ServiceUnknown"
	ErrorTimeout          = errorPrefix + "Timeout"
	ErrorUnknownInterface = errorPrefix + "UnknownInterface"
	ErrorUnknownMethod    = errorPrefix + "UnknownMethod"
	ErrorUnknownObject    = errorPrefix + "UnknownObject"
	ErrorUnknownProperty  = errorPrefix + "UnknownProperty"
	errnoPrefix           = "System.Error."
)

// Error is an error with a name on the bus. Handlers return one, wrapped or
// not; Err, if set, is its text and its cause.
type Error struct {
	Name string
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Name
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

func errorf(name, format string, args ...any) *Error {
	return &Error{Name: name, Err: fmt.Errorf(format, args...)}
}

// errnoNames are the errors that have a generic name of their own; all others
// are System.Error.E….
var errnoNames = map[syscall.Errno]string{
	unix.ENOMEM:        "NoMemory",
	unix.EPERM:         "AccessDenied",
	unix.EACCES:        "AccessDenied",
	unix.EINVAL:        "InvalidArgs",
	unix.ESRCH:         "UnixProcessIdUnknown",
	unix.ENOENT:        "FileNotFound",
	unix.EEXIST:        "FileExists",
	unix.ETIMEDOUT:     "Timeout",
	unix.ETIME:         "Timeout",
	unix.EIO:           "IOError",
	unix.ENETRESET:     "Disconnected",
	unix.ECONNABORTED:  "Disconnected",
	unix.ECONNRESET:    "Disconnected",
	unix.EOPNOTSUPP:    "NotSupported",
	unix.EADDRNOTAVAIL: "BadAddress",
	unix.ENOBUFS:       "LimitsExceeded",
	unix.EADDRINUSE:    "AddressInUse",
	unix.EBADMSG:       "InconsistentMessage",
}

// ErrnoName is the name under which an errno goes over the bus.
func ErrnoName(errno syscall.Errno) string {
	if name, ok := errnoNames[errno]; ok {
		return errorPrefix + name
	}
	if name := unix.ErrnoName(errno); name != "" {
		return errnoPrefix + name
	}
	return ErrorFailed
}

// errorName finds the name of any error that a handler returned. The bus would
// disconnect who sends an error without a proper name.
func errorName(err error) string {
	if name := nameOf(err); validErrorName(name) {
		return name
	}
	return ErrorFailed
}

// validErrorName knows the rules of the D-Bus specification under "Valid Names".
func validErrorName(name string) bool {
	elements := strings.Split(name, ".")
	for _, e := range elements {
		if e == "" || e[0] >= '0' && e[0] <= '9' || strings.ContainsFunc(e, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			return false
		}
	}
	return len(elements) > 1 && len(name) <= 255
}

func nameOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Name
	}
	if e, ok := errors.AsType[dbus.Error](err); ok {
		return e.Name
	}
	if e, ok := errors.AsType[*dbus.Error](err); ok {
		return e.Name
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return ErrnoName(errno)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrnoName(unix.ENOENT)
	case errors.Is(err, fs.ErrExist):
		return ErrnoName(unix.EEXIST)
	case errors.Is(err, fs.ErrPermission):
		return ErrorAccessDenied
	case errors.Is(err, context.DeadlineExceeded):
		return ErrorTimeout
	}
	return ErrorFailed
}

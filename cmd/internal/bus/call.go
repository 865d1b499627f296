package bus

import (
	"context"
	"os"
	"reflect"
	"strconv"

	"github.com/godbus/dbus/v5"
)

// Caller is who sends a call, as the bus noted it when the sender connected.
type Caller struct {
	BusName string // the unique name
	UID     uint32
	Groups  []uint32 // where the bus tells them; the first is the primary one
	PID     int      // 0 if the bus does not tell
	// PIDFD refers to the process; nil if that is gone. It is open until the
	// sender has left the bus and its calls have ended.
	PIDFD *os.File
}

// Privileged reports whether the caller may do everything: it is root, or the
// user the daemon itself runs as.
func (c Caller) Privileged() bool { return c.UID == 0 || c.UID == uint32(os.Geteuid()) }

// Call is one method call on its way through a handler, which may use it until
// it returns.
type Call struct {
	msg    *dbus.Message
	caller Caller
	base   context.Context // what Detach gives
	files  map[dbus.UnixFD]*os.File
	kept   map[*os.File]bool
	after  []func()
}

// Caller is who calls.
func (c *Call) Caller() Caller { return c.caller }

// Path is the object that is called.
func (c *Call) Path() dbus.ObjectPath {
	path, _ := c.msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	return path
}

// Member is the name of the method, without the interface.
func (c *Call) Member() string { return headerString(c.msg, dbus.FieldMember) }

// Interactive reports whether the caller lets polkit ask somebody.
func (c *Call) Interactive() bool { return c.msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0 }

// Detach gives a context that outlives the caller: it ends with the service.
func (c *Call) Detach() context.Context { return c.base }

// Keep leaves it to the handler to close a file that came as an argument.
func (c *Call) Keep(f *os.File) { c.kept[f] = true }

// AfterReply has f called once the reply is on its way: signals that are sent
// from then on come after it. f is called even if there is no reply to send.
func (c *Call) AfterReply(f func()) { c.after = append(c.after, f) }

func (c *Call) replied() {
	for _, f := range c.after {
		f()
	}
}

func (c *Call) signature() string {
	sig, _ := c.msg.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	return sig.String()
}

// adoptFiles finds the descriptors among the arguments. The bus library leaves
// closing them to us, wherever in the message they are.
func (c *Call) adoptFiles() {
	c.files, c.kept = make(map[dbus.UnixFD]*os.File), make(map[*os.File]bool)
	for _, value := range c.msg.Body {
		c.adopt(reflect.ValueOf(value))
	}
}

func (c *Call) adopt(v reflect.Value) {
	if !v.IsValid() {
		return
	}
	if v.Type() == fdType {
		if fd := v.Interface().(dbus.UnixFD); c.files[fd] == nil {
			c.files[fd] = os.NewFile(uintptr(fd), "dbus:"+strconv.Itoa(int(fd)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		c.adopt(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			c.adopt(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			c.adopt(v.MapIndex(key))
		}
	case reflect.Struct:
		if variant, ok := v.Interface().(dbus.Variant); ok {
			c.adopt(reflect.ValueOf(variant.Value()))
		}
	}
}

func (c *Call) closeFiles() {
	for _, f := range c.files {
		if f != nil && !c.kept[f] {
			_ = f.Close()
		}
	}
}

func headerString(msg *dbus.Message, field dbus.HeaderField) string {
	s, _ := msg.Headers[field].Value().(string)
	return s
}

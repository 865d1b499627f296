package bus

import (
	"context"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Object is what is found at a path.
type Object struct {
	// Interfaces in the order of introspection; the standard ones are added.
	Interfaces []*Interface
}

// Interface declares members and how they are served. Check verifies it.
type Interface struct {
	Name       string
	Properties []Property
	Methods    []Method
	Signals    []Signal
}

// Arg is a named argument of a D-Bus type. Old interfaces leave out the name.
type Arg struct{ Name, Type string }

// Args reads a list such as "name s, class s"; a single word is only a type.
func Args(list string) []Arg {
	var args []Arg
	for part := range strings.SplitSeq(list, ",") {
		switch words := strings.Fields(part); len(words) {
		case 0:
		case 1:
			args = append(args, Arg{Type: words[0]})
		default:
			args = append(args, Arg{Name: words[0], Type: words[1]})
		}
	}
	return args
}

func signature(args []Arg) string {
	var s strings.Builder
	for _, a := range args {
		s.WriteString(a.Type)
	}
	return s.String()
}

// Method is a method of an interface.
type Method struct {
	Name    string
	In, Out []Arg
	// Func is func(context.Context, *Call, in...) (out..., error), with Go types
	// that have the declared D-Bus types. File descriptors are *os.File: those
	// that come in are closed when Func returns, see [Call.Keep]; those that go
	// out are closed once they are sent.
	//
	// The context ends when the caller leaves the bus, see [Call.Detach].
	//
	// If Func is nil the method answers NotSupported.
	Func any
}

// Emits says whether a change of a property is announced.
type Emits string

// The values of the annotation EmitsChangedSignal.
const (
	EmitsConst       Emits = "const" // never changes
	EmitsFalse       Emits = "false" // changes silently
	EmitsInvalidates Emits = "invalidates"
	EmitsTrue        Emits = "true"
)

// Property is a property of an interface.
type Property struct {
	Name, Type string
	Emits      Emits
	// Hidden properties are given to who asks for them by name, and not shown.
	Hidden bool
	Get    func(context.Context) (any, error)
	// Set makes the property writable, for root and the daemon's own user.
	Set func(context.Context, dbus.Variant) error
}

// Signal is a signal of an interface.
type Signal struct {
	Name string
	Args []Arg
}

func (in *Interface) method(name string) *Method {
	for i := range in.Methods {
		if in.Methods[i].Name == name {
			return &in.Methods[i]
		}
	}
	return nil
}

func (in *Interface) property(name string) *Property {
	for i := range in.Properties {
		if in.Properties[i].Name == name {
			return &in.Properties[i]
		}
	}
	return nil
}

func (o *Object) find(name string) *Interface {
	for _, in := range o.Interfaces {
		if in.Name == name {
			return in
		}
	}
	return nil
}

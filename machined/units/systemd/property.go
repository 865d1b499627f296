package systemd

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"berth/machined"
)

// maxTasks bounds the tasks of a machine, as the stock daemon does.
const maxTasks uint64 = 16384

// collect has units forgotten when they have ended, however that was.
const collect = "inactive-or-failed"

// setting is an element of a(sv).
type setting struct {
	Name  string
	Value dbus.Variant
}

type properties []setting

// auxiliary is a further unit that a call may make; there is none.
type auxiliary struct {
	Name       string
	Properties properties
}

func set(name string, value any) setting { return setting{name, dbus.MakeVariant(value)} }

// scopeProperties are those of the stock daemon, in its order, and then the
// caller's. A service manager before release 253 wants the process by number.
func scopeProperties(s machined.Scope, extra properties, byPID bool) properties {
	process := set("PIDFDs", []dbus.UnixFD{dbus.UnixFD(s.Leader.PIDFD().Fd())})
	if byPID {
		process = set("PIDs", []uint32{uint32(s.Leader.PID)})
	}
	p := properties{
		set("Slice", slice), set("Description", s.Description), process, set("Delegate", true),
		set("CollectMode", collect), set("AddRef", true), set("TasksMax", maxTasks),
	}
	if s.UID != 0 {
		p = append(p, set("User", strconv.FormatUint(uint64(s.UID), 10)))
	}
	return append(p, extra...)
}

// given are the properties that came from a caller. They are passed on as they
// are; only Go has to be told anew which types they have.
func given(list []machined.Property) (properties, error) {
	var p properties
	for _, property := range list {
		variant, ok := property.Value.(dbus.Variant)
		if !ok {
			return nil, fmt.Errorf("%w: property %s", machined.ErrInvalidArgument, property.Name)
		}
		t, rest := typeOf(variant.Signature().String())
		_, isFile := variant.Value().(dbus.UnixFD)
		// The number of a descriptor that did not come along would be one of ours.
		if t == nil || rest != "" || strings.Contains(variant.Signature().String(), "h") && !isFile {
			return nil, fmt.Errorf("%w: property %s of type %q", machined.ErrInvalidArgument, property.Name, variant.Signature())
		}
		value := reflect.New(t)
		if err := dbus.Store([]any{variant.Value()}, value.Interface()); err != nil {
			return nil, fmt.Errorf("%w: property %s: %w", machined.ErrInvalidArgument, property.Name, err)
		}
		p = append(p, setting{property.Name, dbus.MakeVariant(value.Elem().Interface())})
	}
	return p, nil
}

var basicTypes = map[byte]reflect.Type{
	'y': reflect.TypeFor[byte](), 'b': reflect.TypeFor[bool](), 'n': reflect.TypeFor[int16](),
	'q': reflect.TypeFor[uint16](), 'i': reflect.TypeFor[int32](), 'u': reflect.TypeFor[uint32](),
	'x': reflect.TypeFor[int64](), 't': reflect.TypeFor[uint64](), 'd': reflect.TypeFor[float64](),
	's': reflect.TypeFor[string](), 'o': reflect.TypeFor[dbus.ObjectPath](), 'g': reflect.TypeFor[dbus.Signature](),
	'h': reflect.TypeFor[dbus.UnixFD](),
}

// typeOf is the Go type of the first complete type of a signature, nil if it has
// none. The library takes structures that came in a variant apart into lists,
// which it would send as such. Variants in variants, which no property has, would
// keep that fault, and have no type here.
func typeOf(signature string) (t reflect.Type, rest string) {
	if signature == "" {
		return nil, ""
	}
	switch first, rest := signature[0], signature[1:]; {
	case strings.HasPrefix(signature, "a{"):
		key, rest := typeOf(rest[1:])
		value, rest := typeOf(rest)
		if key == nil || value == nil || !key.Comparable() {
			return nil, ""
		}
		return reflect.MapOf(key, value), rest[1:]
	case first == 'a':
		element, rest := typeOf(rest)
		if element == nil {
			return nil, ""
		}
		return reflect.SliceOf(element), rest
	case first == '(':
		return structOf(rest)
	default:
		return basicTypes[first], rest
	}
}

// structOf is what is open at the beginning of the signature.
func structOf(signature string) (t reflect.Type, rest string) {
	var fields []reflect.StructField
	for signature != "" && signature[0] != ')' {
		var field reflect.Type
		if field, signature = typeOf(signature); field == nil {
			return nil, ""
		}
		fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(len(fields)), Type: field})
	}
	if signature == "" {
		return nil, ""
	}
	return reflect.StructOf(fields), signature[1:]
}

package bus

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/godbus/dbus/v5"
)

var (
	pathType      = reflect.TypeFor[dbus.ObjectPath]()
	signatureType = reflect.TypeFor[dbus.Signature]()
	variantType   = reflect.TypeFor[dbus.Variant]()
)

// marshaler encodes values of one Go type. It is made once for a value, so that a
// list pays for looking at the type of its elements only once.
type marshaler struct {
	alignment int
	// write appends a value for which e is aligned.
	write func(e *encoder, v reflect.Value, depth int) error
}

func (m marshaler) put(e *encoder, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	e.align(m.alignment)
	return m.write(e, v, depth)
}

// value encodes any value that the library could encode, the same way.
func (e *encoder) value(value any, depth int) error {
	if value == nil {
		return fmt.Errorf("nil has no type on the bus")
	}
	v := reflect.ValueOf(value)
	m, err := marshalerOf(v.Type(), 0)
	if err != nil {
		return err
	}
	return m.put(e, v, depth)
}

// marshalerOf is for a type at a depth of nesting within another one.
func marshalerOf(t reflect.Type, depth int) (marshaler, error) {
	if depth > maxDepth {
		return marshaler{}, errDepth
	}
	switch t {
	case pathType:
		return marshaler{4, func(e *encoder, v reflect.Value, _ int) error { return e.path(v.String()) }}, nil
	case fdType:
		return marshaler{4, func(e *encoder, v reflect.Value, _ int) error { e.descriptor(int(v.Int())); return nil }}, nil
	case signatureType:
		return marshaler{1, writeSignature}, nil
	case variantType:
		return marshaler{1, writeVariant}, nil
	}
	if t.Implements(rawType) {
		return marshaler{1, writeRaw}, nil
	}
	if m, ok := basicMarshaler(t.Kind()); ok {
		return m, nil
	}
	return containerMarshaler(t, depth)
}

func writeSignature(e *encoder, v reflect.Value, _ int) error {
	s, _ := v.Interface().(dbus.Signature)
	return e.signature(s.String())
}

func writeVariant(e *encoder, v reflect.Value, depth int) error {
	variant, _ := v.Interface().(dbus.Variant)
	if err := e.signature(variant.Signature().String()); err != nil {
		return err
	}
	return e.value(variant.Value(), depth+1)
}

// writeInterface encodes the value in an interface as a variant.
func writeInterface(e *encoder, v reflect.Value, depth int) error {
	if v.IsNil() {
		return fmt.Errorf("nil has no type on the bus")
	}
	if err := e.signature(typeSignature(v.Elem().Type())); err != nil {
		return err
	}
	return e.value(v.Elem().Interface(), depth+1)
}

func basicMarshaler(k reflect.Kind) (m marshaler, ok bool) {
	write := func(alignment int, f func(e *encoder, v reflect.Value)) (marshaler, bool) {
		return marshaler{alignment, func(e *encoder, v reflect.Value, _ int) error { f(e, v); return nil }}, true
	}
	switch k {
	case reflect.Uint8:
		return write(1, func(e *encoder, v reflect.Value) { e.buf = append(e.buf, byte(v.Uint())) })
	case reflect.Bool:
		return write(4, func(e *encoder, v reflect.Value) {
			n := uint32(0)
			if v.Bool() {
				n = 1
			}
			e.uint32(n)
		})
	case reflect.Int16:
		return write(2, func(e *encoder, v reflect.Value) { e.uint16(uint16(v.Int())) })
	case reflect.Uint16:
		return write(2, func(e *encoder, v reflect.Value) { e.uint16(uint16(v.Uint())) })
	case reflect.Int, reflect.Int32: // int has 32 bits on the bus
		return write(4, func(e *encoder, v reflect.Value) { e.uint32(uint32(v.Int())) })
	case reflect.Uint, reflect.Uint32:
		return write(4, func(e *encoder, v reflect.Value) { e.uint32(uint32(v.Uint())) })
	case reflect.Int64:
		return write(8, func(e *encoder, v reflect.Value) { e.uint64(uint64(v.Int())) })
	case reflect.Uint64:
		return write(8, func(e *encoder, v reflect.Value) { e.uint64(v.Uint()) })
	case reflect.Float64:
		return write(8, func(e *encoder, v reflect.Value) { e.double(v.Float()) })
	case reflect.String:
		return marshaler{4, func(e *encoder, v reflect.Value, _ int) error { return e.string(v.String()) }}, true
	case reflect.Interface:
		return marshaler{1, writeInterface}, true
	}
	return marshaler{}, false
}

func containerMarshaler(t reflect.Type, depth int) (marshaler, error) {
	switch t.Kind() {
	case reflect.Pointer:
		return pointerMarshaler(t, depth)
	case reflect.Slice, reflect.Array:
		return arrayMarshaler(t, depth)
	case reflect.Struct:
		return structMarshaler(t, depth)
	case reflect.Map:
		return mapMarshaler(t, depth)
	}
	return marshaler{}, fmt.Errorf("values of type %v have none on the bus", t)
}

func pointerMarshaler(t reflect.Type, depth int) (marshaler, error) {
	inner, err := marshalerOf(t.Elem(), depth+1)
	return marshaler{inner.alignment, func(e *encoder, v reflect.Value, depth int) error {
		if v.IsNil() {
			return fmt.Errorf("nil of type %v has no value", t)
		}
		return inner.put(e, v.Elem(), depth)
	}}, err
}

func arrayMarshaler(t reflect.Type, depth int) (marshaler, error) {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return marshaler{4, func(e *encoder, v reflect.Value, _ int) error {
			return e.array(1, func() error { e.buf = append(e.buf, v.Bytes()...); return nil })
		}}, nil
	}
	element, err := marshalerOf(t.Elem(), depth+1)
	return marshaler{4, func(e *encoder, v reflect.Value, depth int) error {
		return e.array(element.alignment, func() error {
			for i := range v.Len() {
				if err := element.put(e, v.Index(i), depth+1); err != nil {
					return err
				}
			}
			return nil
		})
	}}, err
}

// structMarshaler takes the exported fields that are not marked as the program's own.
func structMarshaler(t reflect.Type, depth int) (marshaler, error) {
	type member struct {
		marshaler
		index int
	}
	var members []member
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() || field.Tag.Get("dbus") == "-" {
			continue
		}
		m, err := marshalerOf(field.Type, depth+1)
		if err != nil {
			return marshaler{}, err
		}
		members = append(members, member{m, i})
	}
	if len(members) == 0 {
		return marshaler{}, fmt.Errorf("structure %v has no fields on the bus", t)
	}
	return marshaler{8, func(e *encoder, v reflect.Value, depth int) error {
		for _, m := range members {
			if err := m.put(e, v.Field(m.index), depth+1); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// mapMarshaler encodes the entries by key, so that the same map is always the same
// bytes.
func mapMarshaler(t reflect.Type, depth int) (marshaler, error) {
	compare, ok := keyOrder(t.Key().Kind())
	if !ok {
		return marshaler{}, fmt.Errorf("no dictionary of the bus has keys of type %v", t.Key())
	}
	key, err := marshalerOf(t.Key(), depth+2)
	if err != nil {
		return marshaler{}, err
	}
	value, err := marshalerOf(t.Elem(), depth+2)
	return marshaler{4, func(e *encoder, v reflect.Value, depth int) error {
		keys := v.MapKeys()
		slices.SortFunc(keys, compare)
		return e.array(8, func() error {
			for _, k := range keys {
				e.align(8)
				if err := key.put(e, k, depth+2); err != nil {
					return err
				}
				if err := value.put(e, v.MapIndex(k), depth+2); err != nil {
					return err
				}
			}
			return nil
		})
	}}, err
}

// keyOrder is that of keys of a dictionary, whose types are the basic ones.
func keyOrder(k reflect.Kind) (compare func(a, b reflect.Value) int, ok bool) {
	switch k {
	case reflect.String:
		return func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) }, true
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Uint(), b.Uint()) }, true
	case reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Int(), b.Int()) }, true
	case reflect.Float64:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Float(), b.Float()) }, true
	}
	return nil, false
}

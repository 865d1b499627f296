package bus

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Encoded is a value of type T as it goes over the bus. A handler that gives the
// same value again and again encodes it once. It can be the first result of a
// method only: how values are aligned depends on where they are.
type Encoded[T any] struct{ wire []byte }

// Encode encodes a value without file descriptors.
func Encode[T any](value T) (Encoded[T], error) {
	var e encoder
	if err := e.value(value, 0); err != nil {
		return Encoded[T]{}, fmt.Errorf("encode %T: %w", value, err)
	}
	if len(e.fds) > 0 {
		return Encoded[T]{}, fmt.Errorf("encode %T: it has file descriptors", value)
	}
	return Encoded[T]{e.buf}, nil
}

// raw is an [Encoded] of any type.
type raw interface {
	bytes() []byte
	goType() reflect.Type
}

var rawType = reflect.TypeFor[raw]()

func (e Encoded[T]) bytes() []byte      { return e.wire }
func (Encoded[T]) goType() reflect.Type { return reflect.TypeFor[T]() }

func writeRaw(e *encoder, v reflect.Value, _ int) error {
	r, _ := v.Interface().(raw)
	if r.bytes() == nil {
		return errors.New("value was never encoded")
	}
	if len(e.buf) > 0 {
		return errors.New("encoded value is not the first")
	}
	e.buf = slices.Clip(r.bytes()) // whatever is appended goes elsewhere
	return nil
}

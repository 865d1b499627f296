package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/godbus/dbus/v5"
)

var (
	contextType = reflect.TypeFor[context.Context]()
	callType    = reflect.TypeFor[*Call]()
	fileType    = reflect.TypeFor[*os.File]()
	errorType   = reflect.TypeFor[error]()
	fdType      = reflect.TypeFor[dbus.UnixFD]()
)

// Check verifies that the handlers of an interface have the types that are
// declared. A test of each interface calls it: a mismatch is a mistake in the
// program, which calls would only find one by one.
func (in *Interface) Check() error {
	var all error
	for _, p := range in.Properties {
		// Valid as the value of a dictionary: then it is one complete type.
		if _, err := dbus.ParseSignature("a{s" + p.Type + "}"); err != nil {
			all = errors.Join(all, fmt.Errorf("%s.%s: %q is no type of a property", in.Name, p.Name, p.Type))
		}
		if p.Get == nil {
			all = errors.Join(all, fmt.Errorf("%s.%s: property cannot be read", in.Name, p.Name))
		}
	}
	for _, m := range in.Methods {
		if m.Func == nil {
			continue
		}
		if err := m.check(); err != nil {
			all = errors.Join(all, fmt.Errorf("%s.%s: %w", in.Name, m.Name, err))
		}
	}
	return all
}

func (m *Method) check() error {
	t := reflect.TypeOf(m.Func)
	if t.Kind() != reflect.Func || t.IsVariadic() || t.NumIn() < 2 || t.In(0) != contextType || t.In(1) != callType {
		return fmt.Errorf("handler %v does not begin with context and call", t)
	}
	if t.NumOut() < 1 || t.Out(t.NumOut()-1) != errorType {
		return fmt.Errorf("handler %v does not end with an error", t)
	}
	var in, out strings.Builder
	for i := 2; i < t.NumIn(); i++ {
		in.WriteString(typeSignature(t.In(i)))
	}
	for i := range t.NumOut() - 1 {
		if i > 0 && t.Out(i).Implements(rawType) {
			return fmt.Errorf("handler %v gives an encoded value that is not the first", t)
		}
		out.WriteString(typeSignature(t.Out(i)))
	}
	if in.String() != signature(m.In) || out.String() != signature(m.Out) {
		return fmt.Errorf("handler takes %q and gives %q, declared are %q and %q",
			in.String(), out.String(), signature(m.In), signature(m.Out))
	}
	return nil
}

func typeSignature(t reflect.Type) string {
	switch t {
	case fileType:
		t = fdType
	case dictionaryType:
		return "a{sv}"
	}
	if t.Implements(rawType) {
		r, _ := reflect.Zero(t).Interface().(raw)
		t = r.goType()
	}
	return dbus.SignatureOfType(t).String()
}

// invoke decodes the arguments of a call and runs the handler. The files among
// the results are the caller's to close.
func (m *Method) invoke(ctx context.Context, call *Call) ([]any, []*os.File, error) {
	if got, want := call.signature(), signature(m.In); got != want {
		return nil, nil, errorf(ErrorInvalidArgs, "arguments have type %q, not %q", got, want)
	}
	if m.Func == nil {
		return nil, nil, errorf(ErrorNotSupported, "method %s is not supported", m.Name)
	}
	fn := reflect.ValueOf(m.Func)
	args := []reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(call)}
	for i, value := range call.msg.Body {
		arg := reflect.New(fn.Type().In(i + 2))
		if fd, ok := value.(dbus.UnixFD); ok && arg.Type().Elem() == fileType {
			arg.Elem().Set(reflect.ValueOf(call.files[fd]))
		} else if err := dbus.Store([]any{value}, arg.Interface()); err != nil {
			return nil, nil, errorf(ErrorInvalidArgs, "argument %d: %w", i, err)
		}
		args = append(args, arg.Elem())
	}
	return results(fn.Call(args))
}

func results(values []reflect.Value) ([]any, []*os.File, error) {
	last := len(values) - 1
	var body []any
	var files []*os.File
	err, _ := values[last].Interface().(error)
	for _, v := range values[:last] {
		f, ok := v.Interface().(*os.File)
		switch {
		case !ok:
			body = append(body, v.Interface())
		case f != nil:
			files = append(files, f)
			body = append(body, dbus.UnixFD(f.Fd()))
		case err == nil:
			err = errors.New("handler gave no file")
		}
	}
	return body, files, err
}

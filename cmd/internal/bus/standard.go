package bus

import (
	"context"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

const (
	introspectable = "org.freedesktop.DBus.Introspectable"
	properties     = "org.freedesktop.DBus.Properties"
)

// answer finds the method of a call and runs it.
func (t *Tree) answer(ctx context.Context, call *Call) ([]any, []*os.File, error) {
	o, err := t.lookup(ctx, call, call.Path())
	if err != nil {
		return nil, nil, err
	}
	standard := t.standard(o)
	name := headerString(call.msg, dbus.FieldInterface)
	all := append(standard, o.Interfaces...)
	known := false
	for _, in := range all {
		// A call may leave out the interface.
		if name != "" && name != in.Name {
			continue
		}
		known = true
		if m := in.method(call.Member()); m != nil {
			return m.invoke(ctx, call)
		}
	}
	if !known {
		return nil, nil, errorf(ErrorUnknownInterface, "no interface %s at %s", name, call.Path())
	}
	return nil, nil, errorf(ErrorUnknownMethod, "no method %s.%s at %s", name, call.Member(), call.Path())
}

// standard are the interfaces that every object has. Peer is answered by the
// bus library.
func (t *Tree) standard(o *Object) []*Interface {
	return []*Interface{
		{Name: introspectable, Methods: []Method{{
			Name: "Introspect", Out: Args("xml_data s"),
			Func: func(ctx context.Context, call *Call) (string, error) {
				children, err := t.children(ctx, call.Path())
				return Introspect(o, children), err
			},
		}}},
		{Name: properties, Methods: []Method{
			{Name: "Get", In: Args("interface_name s, property_name s"), Out: Args("value v"), Func: o.get},
			{Name: "GetAll", In: Args("interface_name s"), Out: Args("props a{sv}"), Func: o.getAll},
			{Name: "Set", In: Args("interface_name s, property_name s, value v"), Func: o.set},
		}},
	}
}

// isStandard knows interfaces without properties.
func isStandard(name string) bool {
	return name == introspectable || name == properties || name == "org.freedesktop.DBus.Peer"
}

func (p *Property) value(ctx context.Context) (dbus.Variant, error) {
	v, err := p.Get(ctx)
	if err != nil {
		return dbus.Variant{}, fmt.Errorf("get property %s: %w", p.Name, err)
	}
	sig, err := dbus.ParseSignature(p.Type)
	if err != nil {
		return dbus.Variant{}, fmt.Errorf("get property %s: %w", p.Name, err)
	}
	return dbus.MakeVariantWithSignature(v, sig), nil
}

// property finds one by interface and name; an empty interface means any.
func (o *Object) property(iface, name string) (*Property, error) {
	known := iface == "" || isStandard(iface)
	for _, in := range o.Interfaces {
		if iface != "" && iface != in.Name {
			continue
		}
		known = true
		if p := in.property(name); p != nil {
			return p, nil
		}
	}
	if !known {
		return nil, errorf(ErrorUnknownInterface, "no interface %s", iface)
	}
	return nil, errorf(ErrorUnknownProperty, "no property %s.%s", iface, name)
}

func (o *Object) get(ctx context.Context, _ *Call, iface, name string) (dbus.Variant, error) {
	p, err := o.property(iface, name)
	if err != nil {
		return dbus.Variant{}, err
	}
	return p.value(ctx)
}

func (o *Object) getAll(ctx context.Context, _ *Call, iface string) (dictionary, error) {
	if iface != "" && !isStandard(iface) && o.find(iface) == nil {
		return nil, errorf(ErrorUnknownInterface, "no interface %s", iface)
	}
	all := dictionary{}
	for _, in := range o.Interfaces {
		if iface != "" && iface != in.Name {
			continue
		}
		for i := range in.Properties {
			if in.Properties[i].Hidden {
				continue
			}
			v, err := in.Properties[i].value(ctx)
			if err != nil {
				return nil, err
			}
			all = append(all, entry{in.Properties[i].Name, v})
		}
	}
	return all, nil
}

func (o *Object) set(ctx context.Context, call *Call, iface, name string, v dbus.Variant) error {
	p, err := o.property(iface, name)
	switch {
	case err != nil:
		return err
	case p.Set == nil:
		return errorf(ErrorPropertyReadOnly, "property %s cannot be written", name)
	case !call.Caller().Privileged():
		return errorf(ErrorAccessDenied, "property %s may be written by root only", name)
	case v.Signature().String() != p.Type:
		return errorf(ErrorInvalidArgs, "property %s has type %q, not %q", name, p.Type, v.Signature())
	}
	return p.Set(ctx, v)
}

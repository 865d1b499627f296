package bus

import (
	"context"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Directory is a node whose children come and go.
type Directory interface {
	// Lookup finds the child of the given label, nil if there is none. It is
	// told who asks, because some paths mean the caller's own object.
	Lookup(ctx context.Context, call *Call, label string) (*Object, error)
	// List gives the labels of all children, in the order of introspection.
	List(ctx context.Context) ([]string, error)
}

// Tree is everything that is served on a bus. It is filled before use.
type Tree struct {
	objects     map[dbus.ObjectPath]*Object
	directories map[dbus.ObjectPath]Directory
}

// Add puts an object at a path for good.
func (t *Tree) Add(path dbus.ObjectPath, o *Object) {
	if t.objects == nil {
		t.objects = make(map[dbus.ObjectPath]*Object)
	}
	t.objects[path] = o
}

// AddDirectory makes a path the parent of changing children.
func (t *Tree) AddDirectory(path dbus.ObjectPath, d Directory) {
	if t.directories == nil {
		t.directories = make(map[dbus.ObjectPath]Directory)
	}
	t.directories[path] = d
}

// lookup finds the object at a path. Nodes that only lead to others are objects
// without interfaces.
func (t *Tree) lookup(ctx context.Context, call *Call, path dbus.ObjectPath) (*Object, error) {
	if o := t.objects[path]; o != nil {
		return o, nil
	}
	if t.isParent(path) {
		return &Object{}, nil
	}
	i := strings.LastIndexByte(string(path), '/')
	if d := t.directories[path[:max(i, 0)]]; d != nil {
		o, err := d.Lookup(ctx, call, string(path[i+1:]))
		if o != nil || err != nil {
			return o, err
		}
	}
	return nil, errorf(ErrorUnknownObject, "no object at %s", path)
}

func (t *Tree) isParent(path dbus.ObjectPath) bool {
	return t.directories[path] != nil || len(t.staticChildren(path)) > 0
}

func (t *Tree) children(ctx context.Context, path dbus.ObjectPath) ([]string, error) {
	names := t.staticChildren(path)
	if d := t.directories[path]; d != nil {
		more, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	return names, nil
}

// staticChildren gives the labels of the nodes directly below path that lead to
// what was added, sorted.
func (t *Tree) staticChildren(path dbus.ObjectPath) []string {
	prefix := strings.TrimSuffix(string(path), "/") + "/"
	var names []string
	add := func(p dbus.ObjectPath) {
		if rest, ok := strings.CutPrefix(string(p), prefix); ok && rest != "" {
			label, _, _ := strings.Cut(rest, "/")
			names = append(names, label)
		}
	}
	for p := range t.objects {
		add(p)
	}
	for p := range t.directories {
		add(p)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

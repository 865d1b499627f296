package varlink

// Interface is a parsed interface description.
type Interface struct {
	Name    string   // such as "io.systemd.Machine"
	Text    string   // the description it was parsed from
	Methods []string // short names, in the order of the description
	Errors  []string // likewise

	methods map[string]method
	types   map[string]*idlType
	errors  map[string]*idlType
}

// method holds two struct types.
type method struct{ in, out *idlType }

type kind int

const (
	kindBool kind = iota
	kindInt
	kindFloat
	kindString
	kindObject // any JSON object; "any" is any value at all
	kindAny
	kindEnum
	kindStruct
	kindArray
	kindMap
	kindNamed
)

// idlType is one type expression. Named types are looked up when they are
// used, because descriptions refer forward and to themselves.
type idlType struct {
	kind     kind
	nullable bool
	name     string   // of a named type
	elem     *idlType // of arrays and maps
	values   []string // of enums
	fields   []field  // of structs
}

type field struct {
	name string
	typ  *idlType
}

// field finds the index of a struct's field, -1 if there is none.
func (t *idlType) field(name string) int {
	for i := range t.fields {
		if t.fields[i].name == name {
			return i
		}
	}
	return -1
}

// resolve gives the struct or enumeration that a name stands for, any other
// type as it is. The parser has made sure that every name exists.
func (in *Interface) resolve(t *idlType) *idlType {
	if t.kind == kindNamed {
		return in.types[t.name]
	}
	return t
}

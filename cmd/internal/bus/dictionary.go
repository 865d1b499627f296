package bus

import (
	"reflect"
	"strings"

	"github.com/godbus/dbus/v5"
)

// dictionary is a{sv} whose entries keep their order: clients show properties as
// they come. On the wire an entry of a dictionary is like a structure of two
// fields (D-Bus specification, "Marshalling"), and only the signature differs.
type dictionary []entry

type entry struct {
	Key   string
	Value dbus.Variant
}

var dictionaryType = reflect.TypeFor[dictionary]()

// bodySignature is that of a reply.
func bodySignature(body []any) dbus.Signature {
	var s strings.Builder
	for _, value := range body {
		s.WriteString(typeSignature(reflect.TypeOf(value)))
	}
	return dbus.ParseSignatureMust(s.String())
}

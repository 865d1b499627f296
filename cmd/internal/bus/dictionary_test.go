package bus

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Clients print properties in the order in which they come.
func TestGetAllKeepsTheOrder(t *testing.T) {
	in := &Interface{Name: "org.example.Order"}
	for i := range 20 {
		in.Properties = append(in.Properties, Property{
			Name: fmt.Sprintf("Property%02d", 19-i), Type: "s",
			Get: func(context.Context) (any, error) { return fmt.Sprint("value", i), nil },
		})
	}
	all, err := (&Object{Interfaces: []*Interface{in}}).getAll(t.Context(), nil, in.Name)
	if err != nil {
		t.Fatal(err)
	}
	wire, _, err := message{kind: dbus.TypeMethodReply, replySerial: 1, body: []any{all}}.encode(1)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, p := range in.Properties {
		at := bytes.Index(wire, []byte(p.Name))
		if at < last {
			t.Errorf("%s is at %d, before %d", p.Name, at, last)
		}
		last = at
	}
	msg, err := dbus.DecodeMessage(bytes.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]dbus.Variant
	if err := dbus.Store(msg.Body, &got); err != nil || len(got) != 20 || got["Property19"].Value() != "value0" {
		t.Errorf("decoded %v, %v", got, err)
	}
}

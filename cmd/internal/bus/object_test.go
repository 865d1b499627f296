package bus_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/cmd/internal/bus"
)

func TestDeclarationsFitTheirHandlers(t *testing.T) {
	if err := newProbe("").manager().Check(); err != nil {
		t.Error(err)
	}
	if err := transferLike("x").Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []bus.Method{
		{Name: "No", Func: func() {}},
		{Name: "No", Func: func(context.Context, *bus.Call) string { return "" }},
		{Name: "No", In: bus.Args("s"), Func: func(context.Context, *bus.Call) error { return nil }},
		{Name: "No", In: bus.Args("s"), Func: func(context.Context, *bus.Call, int32) error { return nil }},
		{Name: "No", Out: bus.Args("h"), Func: func(context.Context, *bus.Call) (string, error) { return "", nil }},
		{Name: "No", Func: 5},
	} {
		if err := (&bus.Interface{Methods: []bus.Method{bad}}).Check(); err == nil {
			t.Errorf("handler %T is taken for (%v) -> (%v)", bad.Func, bad.In, bad.Out)
		}
	}
}

// The introspection data of the stock daemons, made of our declarations.
func TestIntrospectionIsThatOfTheStockDaemons(t *testing.T) {
	_, address, _ := start(t)
	for _, tt := range []struct {
		file string
		path dbus.ObjectPath
		swap *strings.Replacer
	}{
		{"dbus-logcontrol1.xml", bus.LogControlPath, strings.NewReplacer()},
		{"dbus-import1-transfer.xml", things + "/self", strings.NewReplacer("org.freedesktop.import1.Transfer", thingIf)},
	} {
		want, err := os.ReadFile("testdata/" + tt.file)
		if err != nil {
			t.Fatal(err)
		}
		got := busctl(t, address, "introspect", "--xml-interface", name, string(tt.path))
		if got != strings.TrimSpace(tt.swap.Replace(string(want))) {
			t.Errorf("%s:\n%s", tt.path, got)
		}
	}
}

func TestTreeIsWalked(t *testing.T) {
	p, address, _ := start(t)
	p.setLabels("_1", "two")
	want := `└─ /org
  ├─ /org/example
  │ └─ /org/example/probe
  │   └─ /org/example/probe/thing
  │     ├─ /org/example/probe/thing/_1
  │     └─ /org/example/probe/thing/two
  └─ /org/freedesktop
    └─ /org/freedesktop/LogControl1`
	if got := busctl(t, address, "tree", name); !strings.HasSuffix(strings.ReplaceAll(got, "─/", "─ /"), want) {
		t.Errorf("tree:\n%s", got)
	}
	p.setLabels()
	if got := busctl(t, address, "tree", name); strings.Contains(got, "two") {
		t.Errorf("tree after all have gone:\n%s", got)
	}
}

func TestProperties(t *testing.T) {
	p, address, c := start(t)
	o := c.Object(name, bus.LogControlPath)
	for _, in := range []string{"", "org.freedesktop.LogControl1"} {
		var all map[string]dbus.Variant
		if err := o.Call("org.freedesktop.DBus.Properties.GetAll", 0, in).Store(&all); err != nil || len(all) != 3 {
			t.Errorf("all of %q: %v, %v", in, all, err)
		}
	}
	var none map[string]dbus.Variant
	if err := o.Call("org.freedesktop.DBus.Properties.GetAll", 0, "org.freedesktop.DBus.Peer").Store(&none); err != nil || len(none) != 0 {
		t.Errorf("all of Peer: %v, %v", none, err)
	}
	prop := []string{name, string(bus.LogControlPath), "org.freedesktop.LogControl1"}
	for _, tt := range []struct{ args, want string }{
		{"LogLevel s debug", ""},
		{"LogLevel s loud", `no log level "loud"`},
		{"LogLevel u 7", `property LogLevel has type "s", not "u"`},
		{"LogTarget s journal", ""},
		{"LogTarget s console", "the log goes to journal and nowhere else"},
		{"LogTarget s moon", `no log target "moon"`},
		{"SyslogIdentifier s x", "property SyslogIdentifier cannot be written"},
		{"Nothing s x", "no property org.freedesktop.LogControl1.Nothing"},
	} {
		got := busctl(t, address, append(append([]string{"set-property"}, prop...), strings.Fields(tt.args)...)...)
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("set %s: %s, want %s", tt.args, got, tt.want)
		}
	}
	if got := busctl(t, address, append(append([]string{"get-property"}, prop...), "LogLevel")...); got != `s "debug"` || p.level != 7 {
		t.Errorf("level %s", got)
	}
}

func TestChangesAreAnnounced(t *testing.T) {
	p, _, c := start(t)
	if err := c.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus.Properties")); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 1)
	c.Signal(signals)
	p.service.EmitChanged(root, iface, map[string]dbus.Variant{"State": dbus.MakeVariant("running")}, "Other")
	got, err := json.Marshal((<-signals).Body[2])
	if err != nil || string(got) != `["Other"]` {
		t.Errorf("invalidated: %s, %v", got, err)
	}
}

func TestLabels(t *testing.T) {
	for s, want := range map[string]string{
		"": "_", "foo": "foo", "1": "_31", "a1": "a1", "foo-bar": "foo_2dbar", ".host": "_2ehost", "_": "_5f", "ä": "_c3_a4",
	} {
		if got := bus.EscapeLabel(s); got != want {
			t.Errorf("escape %q: %s, want %s", s, got, want)
		}
		if got := bus.UnescapeLabel(want); got != s {
			t.Errorf("unescape %s: %q, want %q", want, got, s)
		}
	}
	if got := bus.UnescapeLabel("_1"); got != "_1" {
		t.Errorf("half an escape: %q", got)
	}
}

func FuzzLabel(f *testing.F) {
	f.Add("foo-bar")
	f.Add("_2")
	f.Fuzz(func(t *testing.T, s string) {
		label := bus.EscapeLabel(s)
		if bus.UnescapeLabel(label) != s || !dbus.ObjectPath("/"+label).IsValid() {
			t.Errorf("%q becomes %q", s, label)
		}
		_ = bus.UnescapeLabel(s)
	})
}

package bus

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The declarations are written as sd-bus writes them, byte for byte, so that
// introspection data can be compared with that of the stock daemons.
const introspectHead = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
 <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
  <method name="GetMachineId">
   <arg type="s" name="machine_uuid" direction="out"/>
  </method>
 </interface>
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect">
   <arg name="xml_data" type="s" direction="out"/>
  </method>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg name="interface_name" direction="in" type="s"/>
   <arg name="property_name" direction="in" type="s"/>
   <arg name="value" direction="out" type="v"/>
  </method>
  <method name="GetAll">
   <arg name="interface_name" direction="in" type="s"/>
   <arg name="props" direction="out" type="a{sv}"/>
  </method>
  <method name="Set">
   <arg name="interface_name" direction="in" type="s"/>
   <arg name="property_name" direction="in" type="s"/>
   <arg name="value" direction="in" type="v"/>
  </method>
  <signal name="PropertiesChanged">
   <arg type="s" name="interface_name"/>
   <arg type="a{sv}" name="changed_properties"/>
   <arg type="as" name="invalidated_properties"/>
  </signal>
 </interface>
`

// Introspect describes an object and the labels of the nodes below it.
func Introspect(o *Object, children []string) string {
	var b strings.Builder
	b.WriteString(introspectHead)
	for _, in := range o.Interfaces {
		fmt.Fprintf(&b, " <interface name=\"%s\">\n", attr(in.Name))
		for _, p := range in.Properties {
			if !p.Hidden {
				writeProperty(&b, p)
			}
		}
		for _, m := range in.Methods {
			fmt.Fprintf(&b, "  <method name=\"%s\">\n", attr(m.Name))
			writeArgs(&b, m.In, "in")
			writeArgs(&b, m.Out, "out")
			b.WriteString("  </method>\n")
		}
		for _, s := range in.Signals {
			fmt.Fprintf(&b, "  <signal name=\"%s\">\n", attr(s.Name))
			writeArgs(&b, s.Args, "")
			b.WriteString("  </signal>\n")
		}
		b.WriteString(" </interface>\n")
	}
	for _, name := range children {
		fmt.Fprintf(&b, " <node name=\"%s\"/>\n", attr(name))
	}
	b.WriteString("</node>\n")
	return b.String()
}

func writeProperty(w io.Writer, p Property) {
	access := "read"
	if p.Set != nil {
		access = "readwrite"
	}
	fmt.Fprintf(w, "  <property name=\"%s\" type=\"%s\" access=\"%s\">\n", attr(p.Name), attr(p.Type), access)
	if p.Emits != "" && p.Emits != EmitsTrue {
		writeAnnotation(w, "org.freedesktop.DBus.Property.EmitsChangedSignal", string(p.Emits))
	}
	if p.Set != nil {
		writeAnnotation(w, "org.freedesktop.systemd1.Privileged", "true")
	}
	fmt.Fprint(w, "  </property>\n")
}

func writeAnnotation(w io.Writer, name, value string) {
	fmt.Fprintf(w, "   <annotation name=\"%s\" value=\"%s\"/>\n", attr(name), attr(value))
}

func writeArgs(w io.Writer, args []Arg, direction string) {
	for _, a := range args {
		fmt.Fprintf(w, "   <arg type=\"%s\"", attr(a.Type))
		if a.Name != "" {
			fmt.Fprintf(w, " name=\"%s\"", attr(a.Name))
		}
		if direction != "" {
			fmt.Fprintf(w, " direction=\"%s\"", direction)
		}
		fmt.Fprint(w, "/>\n")
	}
}

func attr(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}

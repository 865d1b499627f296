package machineapi_test

import (
	"fmt"
	"slices"
	"testing"

	"berth/machined"

	"github.com/godbus/dbus/v5"
)

type listedMachine struct {
	Name, Class, Service string
	Path                 dbus.ObjectPath
}

// The reply is kept from one call to the next, and never one change behind.
func TestListFollowsEachChange(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	host := listedMachine{".host", "host", "", machines + "_2ehost"}
	for i := range 20 {
		r := machined.Registration{Name: fmt.Sprintf("m%d", i), Service: fmt.Sprintf("s%d", i), Class: machined.ClassContainer}
		r.Leader.PID = int(l.pid())
		if _, err := h.manager.Register(t.Context(), machined.Caller{}, r); err != nil {
			t.Fatal(err)
		}
		want := []listedMachine{host, {r.Name, "container", r.Service, machines + dbus.ObjectPath(r.Name)}}
		for range 2 {
			if got := get[[]listedMachine](h, "ListMachines"); !slices.Equal(got, want) {
				t.Fatalf("listed %v, want %v", got, want)
			}
		}
		if err := h.manager.Unregister(t.Context(), r.Name); err != nil {
			t.Fatal(err)
		}
		if got := get[[]listedMachine](h, "ListMachines"); !slices.Equal(got, want[:1]) {
			t.Fatalf("listed %v, want %v", got, want[:1])
		}
	}
}

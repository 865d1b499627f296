package machineapi_test

import (
	"context"
	"sync"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// slowStore does not finish copies until it may.
type slowStore struct {
	*images.Store
	copying chan struct{} // gets a token for each
	finish  chan struct{} // closed when they may
}

func (s slowStore) Clone(context.Context, images.Image, string, images.CloneOptions) error {
	s.copying <- struct{}{}
	<-s.finish
	return nil
}

// As many operations as the core allows run at once, on both transports
// together; each transport has a name for one too many. What is done at once
// goes on meanwhile.
func TestTooManyOperations(t *testing.T) {
	copying, finish := make(chan struct{}), make(chan struct{})
	h := newBusHostOver(t, func(s *images.Store) machined.ImageStore { return slowStore{s, copying, finish} }, rootOnly)
	h.addTree("tree")
	v := &varlinkHost{t: t, service: &machineapi.Service{Manager: h.manager, Auth: rootOnly}}
	add := func(s *machineapi.Service, server *varlink.Server) error { return s.Varlink(server) }
	client := v.other(add)
	clone := map[string]string{"name": "tree", "newName": "copy"}

	var wg sync.WaitGroup
	for range 32 {
		another := v.other(add)
		wg.Go(func() {
			if _, err := another.Call(t.Context(), "io.systemd.MachineImage.Clone", clone, nil); err != nil {
				t.Error(err)
			}
		})
		<-copying
		call := h.object(managerPath).Go(managerIface+".CloneImage", 0, make(chan *dbus.Call, 1), "tree", "copy", false)
		wg.Go(func() {
			if err := (<-call.Done).Err; err != nil {
				t.Error(err)
			}
		})
		<-copying
	}
	if _, err := client.Call(t.Context(), "io.systemd.MachineImage.Clone", clone, nil); !isError(err, "io.systemd.MachineImage.TooManyOperations") {
		t.Errorf("one more over Varlink: %v", err)
	}
	h.fails(h.call("CloneImage", "tree", "copy", false), bus.ErrorLimitsExceeded)
	h.fails(h.call("CleanPool", "hidden"), bus.ErrorLimitsExceeded)
	h.do("RenameImage", "tree", "tree2")
	if got := get[string](h, "GetImageHostname", "tree2"); got != "inside" {
		t.Errorf("hostname %q", got)
	}
	close(finish)
	wg.Wait()
}

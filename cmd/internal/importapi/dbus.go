package importapi

import (
	"context"
	"sync"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

// BusName is importd's name on the system bus.
const BusName = "org.freedesktop.import1"

// Bus is importd on a message bus.
type Bus struct {
	api     *Service
	service *bus.Service
	order   *order
}

// NewBus puts importd's objects into the tree of c, next to what is there
// already, and takes the rest of c as it is but for the name. Nothing is
// connected before [Bus.Run].
func (s *Service) NewBus(c bus.Config) *Bus {
	b := &Bus{api: s, order: newOrder()}
	if c.Tree == nil {
		c.Tree = &bus.Tree{}
	}
	c.Tree.Add(managerPath, &bus.Object{Interfaces: []*bus.Interface{b.manager()}})
	c.Tree.AddDirectory(transfersPath, transfers{b})
	c.Name = BusName
	b.service = bus.New(c)
	return b
}

// Conn is the connection to the bus while there is one, else nil.
func (b *Bus) Conn() *dbus.Conn { return b.service.Conn() }

// Tried is closed when the name on the bus is owned for the first time, or when the
// first attempt to own it has failed.
func (b *Bus) Tried() <-chan struct{} { return b.service.Tried() }

// Run serves calls and sends signals until ctx ends, whenever there is a bus.
func (b *Bus) Run(ctx context.Context) error {
	events := b.api.Manager.Subscribe()
	defer events.Close()
	relaying, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { b.relay(relaying, events) })
	err := b.service.Run(ctx)
	stop()
	b.order.end()
	group.Wait()
	return err
}

package machineapi

import (
	"context"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

// BusName is machined's name on the system bus.
const BusName = "org.freedesktop.machine1"

// Bus is machined on a message bus.
type Bus struct {
	*Service
	pool    string
	service *bus.Service
	news    *news
	list    machineList
}

// NewBus puts machined's objects into the tree of c, next to what is there
// already, and takes the rest of c as it is but for the name. pool is the
// directory that new images are put into. Nothing is connected before [Bus.Run].
func (s *Service) NewBus(c bus.Config, pool string) *Bus {
	b := &Bus{Service: s, pool: pool, news: newNews()}
	if c.Tree == nil {
		c.Tree = &bus.Tree{}
	}
	c.Tree.Add(busPath, &bus.Object{Interfaces: []*bus.Interface{b.busManager()}})
	c.Tree.AddDirectory(busMachines, machineObjects{b})
	c.Tree.AddDirectory(busImages, imageObjects{b})
	c.Name = BusName
	connected := c.Connected
	c.Connected = func(conn *dbus.Conn) {
		b.withdrawGone()
		if connected != nil {
			connected(conn)
		}
	}
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
	b.news.earlier(b.Manager.List(), b.Manager.Gone())
	cancel := b.Manager.Subscribe(b.signal)
	defer cancel()
	return b.service.Run(ctx)
}

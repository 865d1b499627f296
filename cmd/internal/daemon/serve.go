package daemon

import (
	"fmt"
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"
)

// identifier is what the daemon is called in the log, as those of systemd are.
func (p Program) identifier() string { return "systemd-" + p.Name }

// OpenLog opens the log on standard error.
func (p *Program) OpenLog() { p.Log = OpenLog(os.Stderr, p.identifier(), os.Getenv) }

// BusConfig is for a service on the bus at an address, on which the log is steered.
func (p Program) BusConfig(address string) bus.Config {
	tree := &bus.Tree{}
	tree.Add(bus.LogControlPath, bus.LogControl{
		Priority: p.Log.Priority, SetPriority: p.Log.SetPriority, Target: p.Log.Target(), Identifier: p.identifier(),
	}.Object())
	return bus.Config{Address: address, Tree: tree, Hold: p.Idle.Hold, Logger: p.Log.Logger}
}

// NewServer makes a Varlink server that says who it is. Its clients do not keep the
// daemon from being idle.
func (p Program) NewServer() *varlink.Server { return p.newServer(varlink.Options{}) }

// NewMainServer makes the server of the daemon's own interfaces: its clients keep the
// daemon, may pass files and may steer the log.
func (p Program) NewMainServer() (*varlink.Server, error) {
	server := p.newServer(varlink.Options{AcceptFDs: true, Hold: p.Idle.Hold})
	if err := server.HandleControl(varlink.Control{
		SetLogLevel: p.Log.SetPriority, LogLevel: p.Log.Priority, Environ: os.Environ,
	}); err != nil {
		return nil, fmt.Errorf("serve what steers the log: %w", err)
	}
	return server, nil
}

func (p Program) newServer(o varlink.Options) *varlink.Server {
	o.Logger = p.Log.Logger
	return varlink.NewServer(varlink.Info{
		Vendor: "berth", Product: "berth (" + p.Name + ")", Version: p.Version, URL: "https://systemd.io/",
	}, o)
}

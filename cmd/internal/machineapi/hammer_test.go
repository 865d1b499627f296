package machineapi_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/fixtures/await"
	"berth/fixtures/cgroup"
	"berth/machined"
	"berth/machined/units/cgroup2"

	"github.com/godbus/dbus/v5"
)

// registrar is a client as the one who registers machines needs it.
type registrar interface {
	register(ctx context.Context, name string, leader int) error
	list(ctx context.Context) (names []string, err error)
	terminate(ctx context.Context, name string) error
	Close() error
}

type varlinkRegistrar struct{ *varlink.Client }

func (c varlinkRegistrar) register(ctx context.Context, name string, leader int) error {
	_, err := c.Call(ctx, "io.systemd.Machine.Register", map[string]any{"name": name, "class": "container", "leader": leader}, nil)
	return err
}

func (c varlinkRegistrar) list(ctx context.Context) (names []string, err error) {
	for reply, err := range c.CallMore(ctx, "io.systemd.Machine.List", nil) {
		if err != nil {
			return nil, err
		}
		var m struct{ Name string }
		if err := reply.Decode(&m); err != nil {
			return nil, err
		}
		names = append(names, m.Name)
	}
	return names, nil
}

func (c varlinkRegistrar) terminate(ctx context.Context, name string) error {
	_, err := c.Call(ctx, "io.systemd.Machine.Terminate", map[string]any{"name": name}, nil)
	return err
}

type busRegistrar struct{ *dbus.Conn }

func (c busRegistrar) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return c.Object(machineapi.BusName, managerPath).CallWithContext(ctx, managerIface+"."+method, 0, args...)
}

func (c busRegistrar) register(ctx context.Context, name string, leader int) error {
	return c.call(ctx, "RegisterMachine", name, []byte{}, "", "container", uint32(leader), "").Err
}

func (c busRegistrar) list(ctx context.Context) (names []string, err error) {
	var list []struct {
		Name, Class, Service string
		Path                 dbus.ObjectPath
	}
	if err := c.call(ctx, "ListMachines").Store(&list); err != nil {
		return nil, err
	}
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names, nil
}

func (c busRegistrar) terminate(ctx context.Context, name string) error {
	return c.call(ctx, "TerminateMachine", name).Err
}

// taken is for a name that is taken, on either transport.
func taken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "exists") || fmt.Sprint(err) == "io.systemd.Machine.MachineExists"
}

// round has a client register a machine, look for it, and terminate it.
func round(ctx context.Context, c registrar, name string) error {
	leader := exec.CommandContext(ctx, "/bin/sleep", "infinity")
	if err := leader.Start(); err != nil {
		return err
	}
	defer func() { _ = leader.Process.Kill() }() // it may have ended
	if err := c.register(ctx, name, leader.Process.Pid); err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	if err := c.register(ctx, name, leader.Process.Pid); !taken(err) {
		return fmt.Errorf("register %s again: %w", name, err)
	}
	if names, err := c.list(ctx); err != nil || count(names, name) != 1 || count(names, machined.HostName) != 1 {
		return fmt.Errorf("%s and the host are not once in %q: %w", name, names, err)
	}
	if err := c.terminate(ctx, name); err != nil {
		return fmt.Errorf("terminate %s: %w", name, err)
	}
	_ = leader.Wait() // killed by a signal, as it should be
	var names []string
	var err error
	if !await.Met(limit, func() bool {
		names, err = c.list(ctx)
		return err != nil || count(names, name) == 0
	}) || err != nil {
		return fmt.Errorf("terminated %s is in %q: %w", name, names, err)
	}
	return nil
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// rounds is how long each client goes on: as many rounds, or for the time that the
// environment says.
func rounds(t *testing.T) (more func(done int) bool) {
	t.Helper()
	const few = 3
	text := os.Getenv("BERTH_HAMMER")
	if text == "" {
		return func(done int) bool { return done < few }
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(d)
	return func(done int) bool { return done < few || time.Now().Before(end) }
}

// hammer has many clients at once on a machined that holds nothing in the end: no
// machine, no file, no control group, no descriptor and no goroutine.
func hammer(t *testing.T, manager *machined.Manager, state, groups string, connect func() (registrar, error)) {
	t.Helper()
	const clients = 50
	client := func(prefix string, more func(done int) bool) error {
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close()
		for i := 0; more(i); i++ {
			if err := round(t.Context(), c, fmt.Sprintf("%s-%d", prefix, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := client("first", func(done int) bool { return done < 1 }); err != nil { // what is opened once stays open
		t.Fatal(err)
	}
	nothingLeft := func() bool {
		files, err := filepath.Glob(filepath.Join(state, "*"))
		scopes, groupErr := filepath.Glob(filepath.Join(groups, "machine.slice", "*.scope"))
		return err == nil && groupErr == nil && len(files)+len(scopes) == 0 && len(manager.List()) == 1 // .host
	}
	await.Until(t, limit, "the end of the first machine", nothingLeft)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	errs := make(chan error, clients)
	more := rounds(t)
	for i := range clients {
		go func() { errs <- client("client"+strconv.Itoa(i), more) }()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	await.Until(t, limit, "the end of all machines", nothingLeft)
	await.Until(t, limit, "the end of all connections", func() bool { return openFiles(t) <= files })
	await.Until(t, limit, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// ownGroups are units in a part of the cgroup tree that is the test's.
func ownGroups(t *testing.T) (units machined.Units, dir string) {
	t.Helper()
	dir, err := cgroup.Make(fmt.Sprintf("berth-hammer-%d-%s", os.Getpid(), t.Name()))
	if errors.Is(err, cgroup.ErrUnavailable) {
		t.Skip("NOT TESTED: needs a cgroup v2 tree: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cgroup.Kill(dir), cgroup.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	tree, err := cgroup2.Find()
	if err != nil {
		t.Fatal(err)
	}
	b, err := cgroup2.New(cgroup2.Options{Base: filepath.Join(tree.Root, filepath.Base(dir))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, dir
}

func TestHammerOverVarlink(t *testing.T) {
	units, groups := ownGroups(t)
	h := newVarlinkHost(t, rootOnly, func(c *machined.Config) { c.Units = units })
	path := h.listen(h.server)
	hammer(t, h.manager, h.state, groups, func() (registrar, error) {
		c, err := varlink.Dial(t.Context(), path)
		return varlinkRegistrar{c}, err
	})
}

func TestHammerOverTheBus(t *testing.T) {
	units, groups := ownGroups(t)
	h := newBusHostOver(t, storeItself, allow{}, func(c *machined.Config) { c.Units = units })
	hammer(t, h.manager, h.state, groups, func() (registrar, error) {
		c, err := dbus.Connect(h.address)
		return busRegistrar{c}, err
	})
}

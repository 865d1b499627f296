package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/units/cgroup2"
)

// standIn is on a bus what this package needs of a service manager. Its units
// are real cgroups, so that the suite can hold it to what it holds the real one.
type standIn struct {
	t      *testing.T
	root   string // its cgroup
	dir    string // the same as a directory
	groups *cgroup2.Backend

	mu      sync.Mutex
	conn    *dbus.Conn
	units   map[string]*standInUnit
	jobs    uint32
	results map[string]string // of the next job of a unit, instead of "done"
	refuse  string            // a property that it does not know
	silent  bool              // jobs are over and nobody is told
	calls   []string          // members that were called
}

type standInUnit struct {
	props   map[string]dbus.Variant
	process *machined.Process // of a service
	status  machined.ExitStatus
}

func newStandIn(t *testing.T, address string) *standIn {
	t.Helper()
	tree, err := cgroup2.Find()
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	dir, err := os.MkdirTemp(tree.Mount, "berth-test-")
	if err != nil {
		t.Skip("NOT TESTED: cannot write to the cgroup2 tree: ", err)
	}
	f := &standIn{t: t, dir: dir, root: filepath.Join(tree.Root, filepath.Base(dir)), units: map[string]*standInUnit{}, results: map[string]string{}}
	if f.groups, err = cgroup2.New(cgroup2.Options{Base: f.root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		await.Until(t, time.Minute, "the end of all units", func() bool {
			return os.Remove(filepath.Join(dir, slice)) == nil && os.Remove(dir) == nil
		})
		if err := f.groups.Close(); err != nil {
			t.Error(err)
		}
	})
	cancel := f.groups.Watch(f.ended)
	t.Cleanup(cancel)
	f.appear(address)
	return f
}

// appear connects to a bus and takes the name there.
func (f *standIn) appear(address string) {
	f.t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	f.mu.Lock()
	f.conn = conn
	f.mu.Unlock()
	methods := map[string]any{
		"Subscribe": f.subscribe, "StartTransientUnit": f.start, "StopUnit": f.stop, "KillUnit": f.kill,
		"KillUnitSubgroup": f.killSubgroup, "UnrefUnit": f.unref, "GetUnit": f.get, "ListUnitsByPatterns": f.list,
		"ResetFailedUnit": f.reset, "StartUnit": f.startUnit, "AttachProcessesToUnit": f.attach,
	}
	if err := errors.Join(conn.ExportMethodTable(methods, managerPath, managerName),
		conn.ExportSubtreeMethodTable(map[string]any{"Get": f.property}, managerPath, "org.freedesktop.DBus.Properties")); err != nil {
		f.t.Fatal(err)
	}
	if reply, err := conn.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		f.t.Fatal(reply, err)
	}
}

// decide sets the results of the next jobs of units.
func (f *standIn) decide(results map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results = results
}

// disappear leaves the bus, as the real one does when it executes itself anew.
func (f *standIn) disappear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.conn.Close()
}

func named(name string) *dbus.Error { return dbus.NewError(name, []any{name}) }

func (f *standIn) note(member string) {
	f.calls = append(f.calls, member)
}

func (f *standIn) called(member string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == member {
			n++
		}
	}
	return n
}

func (f *standIn) emit(at dbus.ObjectPath, name string, args ...any) {
	_ = f.conn.Emit(at, name, args...) // a bus that is gone is what some tests are about
}

func (f *standIn) subscribe() *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("Subscribe")
	return nil
}

func pathOf(name string) dbus.ObjectPath {
	return unitPath + dbus.ObjectPath("/"+fmt.Sprintf("%x", name))
}

// over ends a job with the result that the test wants.
func (f *standIn) job(unit string) dbus.ObjectPath {
	f.jobs++
	job := managerPath + dbus.ObjectPath(fmt.Sprintf("/job/%d", f.jobs))
	result := "done"
	if other := f.results[unit]; other != "" {
		result = other
	}
	if !f.silent {
		// Before the reply, as it may come from the real one.
		f.emit(managerPath, managerName+".JobRemoved", f.jobs, job, unit, result)
	}
	return job
}

func (f *standIn) start(name, _ string, props properties, _ []auxiliary) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("StartTransientUnit")
	if f.units[name] != nil {
		return "", named(unitExists)
	}
	u := &standInUnit{props: map[string]dbus.Variant{
		"ActiveState": dbus.MakeVariant("active"), "InvocationID": dbus.MakeVariant([]byte(fmt.Sprint(f.jobs))),
	}}
	var pid int
	s := machined.Service{Unit: name, Files: make([]*os.File, 3)}
	for _, p := range props {
		if p.Name == f.refuse {
			return "", named(unknownProp)
		}
		switch p.Name {
		case "PIDs":
			pid = int(p.Value.Value().([]uint32)[0])
		case "ExecStart":
			var commands []command
			if err := p.Value.Store(&commands); err != nil {
				return "", dbus.MakeFailedError(err)
			}
			s.Path, s.Args = commands[0].Path, commands[0].Args
		case "Environment":
			s.Env, _ = p.Value.Value().([]string)
		default:
			for i, standard := range standardFiles {
				if p.Name == standard {
					s.Files[i] = os.NewFile(uintptr(p.Value.Value().(dbus.UnixFD)), standard)
					defer s.Files[i].Close()
				}
			}
			u.props[p.Name] = p.Value
		}
	}
	if f.results[name] != "" {
		u.props["ActiveState"] = dbus.MakeVariant("failed")
		f.units[name] = u
		return f.job(name), nil
	}
	f.units[name] = u
	if err := f.fill(u, s, pid); err != nil {
		delete(f.units, name)
		return "", dbus.MakeFailedError(err)
	}
	return f.job(name), nil
}

// fill puts a process into a unit.
func (f *standIn) fill(u *standInUnit, s machined.Service, pid int) error {
	ctx := context.Background()
	if s.Path != "" {
		p, err := f.groups.StartService(ctx, s)
		u.process = p
		return err
	}
	leader, err := machined.OpenProcess(pid)
	if err != nil {
		return err
	}
	defer leader.Close()
	_, err = f.groups.StartScope(ctx, machined.Scope{Unit: s.Unit, Leader: leader})
	return err
}

func (f *standIn) attach(name, _ string, pids []uint32) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] == nil {
		return named(noSuchUnit)
	}
	for _, pid := range pids {
		if err := os.WriteFile(filepath.Join(f.dir, slice, name, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
			return dbus.MakeFailedError(err)
		}
	}
	return nil
}

// ended is told by the cgroups.
func (f *standIn) ended(name string) {
	go func() { // it must not wait for a call that made the unit
		f.mu.Lock()
		defer f.mu.Unlock()
		u := f.units[name]
		if u == nil {
			return
		}
		u.props["ActiveState"] = dbus.MakeVariant("inactive")
		f.emit(pathOf(name), "org.freedesktop.DBus.Properties.PropertiesChanged", unitName,
			map[string]dbus.Variant{"ActiveState": u.props["ActiveState"]}, []string{})
		if _, referenced := u.props["AddRef"]; !referenced {
			f.forget(name)
		}
	}()
}

func (f *standIn) forget(name string) {
	if u := f.units[name]; u != nil && over(u.props["ActiveState"].Value().(string)) {
		if u.process != nil {
			if !u.status.Known {
				_, _ = u.process.ExitStatus() // reaped
			}
			_ = u.process.Close()
		}
		delete(f.units, name)
		f.emit(managerPath, managerName+".UnitRemoved", name, pathOf(name))
	}
}

func (f *standIn) unref(name string) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("UnrefUnit")
	f.forget(name)
	return nil
}

func (f *standIn) reset(name string) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(name)
	return nil
}

func (f *standIn) get(name string) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] == nil {
		return "", named(noSuchUnit)
	}
	return pathOf(name), nil
}

func (f *standIn) list(_, patterns []string) (list []listed, _ *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, u := range f.units {
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, name); ok {
				list = append(list, listed{Name: name, Active: u.props["ActiveState"].Value().(string), Path: pathOf(name), JobPath: "/"})
			}
		}
	}
	return list, nil
}

func (f *standIn) stop(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] == nil {
		return "", named(noSuchUnit)
	}
	_ = f.groups.Kill(context.Background(), machined.Unit{Name: name}, syscall.SIGTERM) // there may be nothing
	return f.job(name), nil
}

func (f *standIn) kill(name, _ string, sig int32) *dbus.Error { return f.killIn(name, "", sig) }

func (f *standIn) killSubgroup(name, _, subgroup string, sig int32) *dbus.Error {
	return f.killIn(name, subgroup, sig)
}

func (f *standIn) killIn(name, subgroup string, sig int32) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] == nil {
		return named(noSuchUnit)
	}
	_ = f.groups.Kill(context.Background(), machined.Unit{Name: name, Subgroup: subgroup}, syscall.Signal(sig))
	return nil
}

func (f *standIn) startUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("StartUnit")
	return f.job(name), nil
}

// property is Get of all objects.
func (f *standIn) property(msg dbus.Message, iface, name string) (dbus.Variant, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	if at == managerPath {
		return dbus.MakeVariant(f.root), nil
	}
	if strings.HasPrefix(string(at), string(managerPath)+"/job/") {
		return dbus.Variant{}, named(unknownObject) // all are over at once
	}
	for unit, u := range f.units {
		if pathOf(unit) != at {
			continue
		}
		if iface == serviceName {
			return f.serviceProperty(u, name)
		}
		return u.props[name], nil
	}
	return dbus.Variant{}, named(unknownObject)
}

func (f *standIn) serviceProperty(u *standInUnit, name string) (dbus.Variant, *dbus.Error) {
	running := u.process.Alive()
	if !running && !u.status.Known {
		u.status, _ = u.process.ExitStatus()
	}
	status := u.status
	switch name {
	case "MainPID":
		if !running {
			return dbus.MakeVariant(uint32(0)), nil
		}
		return dbus.MakeVariant(uint32(u.process.PID)), nil
	case "ExecMainPID":
		return dbus.MakeVariant(uint32(u.process.PID)), nil
	case "ExecMainCode":
		if status.Signal != 0 {
			return dbus.MakeVariant(int32(killed)), nil
		}
		return dbus.MakeVariant(int32(exited)), nil
	case "ExecMainStatus":
		return dbus.MakeVariant(int32(max(status.Code, int(status.Signal)))), nil
	}
	return dbus.Variant{}, named(unknownProp)
}

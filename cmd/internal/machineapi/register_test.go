package machineapi_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

// What is wrong with a registration is told by the name of the parameter, and
// before anybody is asked for a password.
func TestRegisterNamesTheParameter(t *testing.T) {
	for _, h := range []*varlinkHost{newVarlinkHost(t, rootOnly), newVarlinkHost(t, nobody{})} {
		pid := h.leader()
		object := func(pid, pidfdID int) map[string]any { return map[string]any{"pid": pid, "pidfdId": pidfdID} }
		for _, c := range []struct {
			change map[string]any
			want   string
		}{
			{map[string]any{"name": "a_b"}, "name"},
			{map[string]any{"name": ""}, "name"},
			{map[string]any{"name": ".host"}, "name"},
			{map[string]any{"name": nil}, "name"},
			{map[string]any{"class": "host"}, "class"},
			{map[string]any{"class": "jail"}, "class"},
			{map[string]any{"class": nil}, "class"},
			{map[string]any{"id": "12"}, "id"},
			{map[string]any{"id": 12}, "id"},
			{map[string]any{"leader": 1}, "leader"},
			{map[string]any{"leader": 0}, "leader"},
			{map[string]any{"leader": -1}, "leader"},
			{map[string]any{"leaderProcessId": object(1, 0)}, "leaderProcessId"},
			{map[string]any{"leaderProcessId": object(pid+1, 0)}, "leaderProcessId"},
			{map[string]any{"leaderProcessId": map[string]any{"pid": pid, "bootId": "0123456789abcdef0123456789abcdef"}}, "leaderProcessId"},
			{map[string]any{"rootDirectory": "relative"}, "rootDirectory"},
			{map[string]any{"ifIndices": []int{0}}, "ifIndices"},
			{map[string]any{"ifIndices": "1"}, "ifIndices"},
			{map[string]any{"vSockCid": 2}, "vSockCid"},
			{map[string]any{"vSockCid": 0}, "vSockCid"},
			{map[string]any{"vSockCid": machined.AnyCID}, "vSockCid"},
			{map[string]any{"vSockCid": -1}, "vSockCid"},
			{map[string]any{"sshPrivateKeyPath": "key"}, "sshPrivateKeyPath"},
			{map[string]any{"sshAddress": "a\nb"}, "sshAddress"},
			{map[string]any{"controlAddress": "socket"}, "controlAddress"},
			{map[string]any{"service": "\x00"}, "service"},
			{map[string]any{"allocateUnit": "yes"}, "allocateUnit"},
		} {
			in := map[string]any{"name": "x", "class": "container", "leader": pid}
			maps.Copy(in, c.change)
			err := h.register(in)
			var e *varlink.Error
			var p struct{ Parameter string }
			if !errors.As(err, &e) || e.Name != varlink.ErrorInvalidParameter || e.Decode(&p) != nil || p.Parameter != c.want {
				t.Errorf("%v: %v, want parameter %s", c.change, err, c.want)
			}
		}
	}
}

// A leader that is not there is a wrong one.
func TestRegisterAnAbsentLeader(t *testing.T) {
	h := newVarlinkHost(t, nobody{})
	in := map[string]any{"name": "x", "class": "container", "leaderProcessId": map[string]int{"pid": h.leader(), "pidfdId": 1}}
	if err := h.register(in); !isError(err, varlink.ErrorInvalidParameter) {
		t.Error(err)
	}
}

func TestRegisterWithAllParameters(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	pid := h.leader()
	in := map[string]any{
		"name": "foo", "class": "vm", "service": "test", "leader": pid,
		"leaderProcessId": map[string]any{"pid": fmt.Sprint(pid), "pidfdId": h.pidfdID(pid)},
		"id":              "0123456789abcdef0123456789abcdef", "rootDirectory": "/some/where", "ifIndices": []int{3, 4},
		"vSockCid": 77, "sshAddress": "vsock/77", "sshPrivateKeyPath": "/some/key", "controlAddress": "/run/some/socket",
		"supervisor": 1, "supervisorProcessId": map[string]int{"pid": 1}, "allocateUnit": false,
		"allowInteractiveAuthentication": true, "somethingNewer": map[string]any{"a": 1},
	}
	if err := h.register(in); err != nil {
		t.Fatal(err)
	}
	m, err := h.client.Machine(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{m.Class, machined.ClassVM},
		{m.Service, "test"},
		{m.Leader.PID, pid},
		{m.ID, in["id"]},
		{m.RootDirectory, "/some/where"},
		{*m.VSockCID, uint32(77)},
		{m.SSHAddress, "vsock/77"},
		{m.SSHPrivateKeyPath, "/some/key"},
		{m.ControlAddress, "/run/some/socket"},
		{m.Supervisor, (*machineapi.ProcessID)(nil)}, // the test's own process, which is also the daemon's
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

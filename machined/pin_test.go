package machined

import (
	"errors"
	"syscall"
	"testing"
)

// A name under a pin is that of one registration of one process.
func TestPin(t *testing.T) {
	m := testManager(t, testConfig(t))
	first, second := sleeper(t), sleeper(t)
	again := func(leader *Process) Machine {
		t.Helper()
		if err := m.Unregister(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		return register(t, m, "foo", leader)
	}
	ctx := register(t, m, "foo", first).Pin(t.Context())
	register(t, m, "bar", sleeper(t))
	if err := m.Kill(ctx, "foo", KillLeader, syscall.SIGCONT); err != nil {
		t.Error(err)
	}
	if err := m.Kill(ctx, "bar", KillLeader, syscall.SIGCONT); err != nil {
		t.Errorf("a machine of another name: %v", err)
	}
	for what, leader := range map[string]*Process{"another leader": second, "the same leader": first} {
		machine := again(leader)
		for call, err := range map[string]error{
			"Kill": m.Kill(ctx, "foo", KillLeader, syscall.SIGKILL), "Terminate": m.Terminate(ctx, "foo"),
			"Unregister": m.Unregister(ctx, "foo"), "SafeToEnter": m.SafeToEnter(ctx, machine),
		} {
			if call != "SafeToEnter" && !errors.Is(err, ErrNoSuchMachine) || call == "SafeToEnter" && err != nil {
				t.Errorf("%s, registered once more: %s: %v", what, call, err)
			}
		}
		if got, err := m.Find("foo"); err != nil || got.Leader != machine.Leader || got.State != StateRunning || !leader.Alive() {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

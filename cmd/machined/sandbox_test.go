package main

import (
	"testing"

	"berth/fixtures/testhost"
	"berth/fixtures/testhost/hosttest"
)

// execHelpers come after helpers. Commands of the tests sleep for 76xx seconds.
const execHelpers = `
execute() { /var/tmp/berthctl exec "$@"; }
ended() { ! pgrep -xf "sleep $1"; }
# No unit of a command is left, not even one that failed.
no_units() { [ -z "$(systemctl list-units --all --plain --no-legend 'machined-exec-*')" ]; }
# A command that is under way, with the process of its client in $client: not that
# of a shell that runs a function.
run_sleep() { /var/tmp/berthctl exec tree -- sleep "$1" & client=$!; until_true pgrep -xf "sleep $1"; }
# All but the inheritable capabilities: systemd leaves some, and a command has none.
status='grep -E ^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp) /proc/self/status'
`

var execSteps = []step{
	steps[0], // make an image
	{"the daemon is in its sandbox", `ours; running machined
		grep -q '^Seccomp:.2$' /proc/$(systemctl show systemd-machined --property=MainPID --value)/status`, false},
	{"start", `machinectl start tree; until_true systemctl -M tree is-active --quiet multi-user.target`, false},
	{"rights of a command are those of a shell", `
		shell=$(machinectl --quiet shell tree /usr/bin/$status | tr -d '\r')
		is "$(execute tree -- $status)" "$shell"
		echo "$shell" | grep -q '^CapBnd'; echo "$shell" | grep -q '^Seccomp:.2$'`, false},
	{"streams and status", `
		s=0; out=$(execute tree -- sh -c 'cat; echo oops >&2; exit 7' <<<seven 2>/var/tmp/errors) || s=$?
		is "$out/$(cat /var/tmp/errors)/$s" seven/oops/7
		s=0; execute tree -- sh -c 'kill -TERM $$' || s=$?; is $s 143
		s=0; execute tree -- absent 2>/dev/null || s=$?; is $s 127
		until_true no_units`, false},
	{"a client that leaves", `
		run_sleep 7610; is "$(systemctl list-units --plain --no-legend 'machined-exec-*' | wc -l)" 1
		kill -KILL $client; until_true ended 7610; until_true no_units`, false},
	{"a daemon that is killed", `
		run_sleep 7611; systemctl kill --signal=KILL systemd-machined
		until_true ended 7611; until_true no_units; until_true machinectl list; running machined`, false},
	{"a command whose unit is stopped", `
		run_sleep 7612; systemctl stop 'machined-exec-*'; until_true ended 7612; until_true no_units
		s=0; wait $client || s=$?; test $s != 0`, false},
	{"what enters the machine is killed alone", `
		run_sleep 7613; systemctl kill --kill-whom=main --signal=KILL 'machined-exec-*'
		until_true ended 7613; until_true no_units
		s=0; wait $client || s=$?; test $s != 0`, false},
	{"what a command leaves behind is the machine's", `
		execute tree -- sh -c 'sleep 7614 </dev/null >/dev/null 2>&1 &'
		until_true no_units
		grep -q '/systemd-nspawn@tree.service/' /proc/$(pgrep -xf 'sleep 7614')/cgroup
		machinectl kill tree --kill-whom=all --signal=KILL; until_true ended 7614`, false},
	{"a command of the host is outside of the sandbox", `
		is "$(execute .host -- readlink /proc/self/ns/mnt)" "$(readlink /proc/1/ns/mnt)"
		is "$(execute .host -- grep ^Seccomp: /proc/self/status)" "$(grep ^Seccomp: /proc/1/status)"
		execute .host -- sh -c 'sleep 7615 </dev/null >/dev/null 2>&1 &'
		until_true ended 7615; until_true no_units`, false},
}

func TestExecInTheSandbox(t *testing.T) {
	h := hosttest.Boot(t, testhost.Sid)
	build(t, "../machinectl", h.Path("/var/tmp/berthctl"))
	takeSteps(t, h, helpers+execHelpers, execSteps)
}

package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/fixtures/testhost"
	"berth/fixtures/testhost/hosttest"
)

// helpers are shell functions of the steps below.
const helpers = `
manager() { busctl --quiet call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager "$@"; }
property() { machinectl show "$1" --property="$2" --value; }
is() { [ "$1" = "$2" ] || { echo "got '$1', want '$2'"; exit 1; }; }
until_true() { for i in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done; echo "never: $*"; exit 1; }
gone() { ! machinectl show "$1"; }
dropin=/run/systemd/system/systemd-machined.service.d/berth.conf
ours() {
	mkdir -p ${dropin%/*}
	printf '[Service]\nExecStart=\nExecStart=/var/tmp/machined\n' >$dropin
	systemctl daemon-reload && systemctl restart systemd-machined
}
stock() { rm $dropin && systemctl daemon-reload && systemctl restart systemd-machined; }
running() { is "$(ps -o comm= "$(systemctl show systemd-machined --property=MainPID --value)")" "$1"; }
both() {
	is "$(property tree Unit)/$(property tree Subgroup)" systemd-nspawn@tree.service/payload
	is "$(property one Unit)" machine-one.scope
	is "$(property one Leader)" "$(pgrep -xf 'sleep 7654')"
}
`

// step is a script that must succeed. It runs as a unit, but for those that the
// bus must not be taken from.
type step struct {
	what, script string
	outside      bool
}

// The steps run one after the other on one host.
var steps = []step{
	{"make an image", `
		mkdir -p /var/lib/machines/tree && cd /var/lib/machines/tree
		cp -a /usr /etc . && mkdir -p var proc sys dev run tmp root
		for link in bin sbin lib lib64; do cp -a /$link . ; done
		: >etc/machine-id`, false},
	{"swap the stock daemon for ours", `ours; running machined; machinectl list --no-legend; test -S /run/systemd/machine/io.systemd.Machine`, false},
	{"start", `machinectl start tree; is "$(property tree State)" running; machinectl list --no-legend | grep -q '^tree '`, false},
	{"status", `machinectl status tree --no-pager | grep -q 'Unit: systemd-nspawn@tree.service'`, false},
	{"no link for a part of a unit", `test ! -e /run/systemd/machines/unit:systemd-nspawn@tree.service`, false},
	{"enter", `
		until_true systemctl -M tree is-active --quiet multi-user.target
		is "$(systemd-run -M tree --wait --pipe --quiet cat /proc/1/comm)" systemd`, false},
	{"create", `
		sleep 7654 </dev/null >/dev/null 2>&1 & leader=$!
		manager CreateMachineWithNetwork 'sayssusaia(sv)' one 0 test container $leader '' 1 1 2 Slice s machine.slice MemoryMax t 100000000
		is "$(cat /proc/$leader/cgroup | tail -1)" 0::/machine.slice/machine-one.scope
		is "$(systemctl show machine-one.scope --property=MemoryMax --value)" 100000000
		is "$(systemctl show machine-one.scope --property=TasksMax --value)" 16384
		is "$(readlink /run/systemd/machines/unit:machine-one.scope)" one
		test "$(property one Supervisor)" != 0
		both`, false},
	{"refuse to create", `
		sleep 60 </dev/null >/dev/null 2>&1 & leader=$!
		busctl call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager \
			CreateMachine 'sayssusa(sv)' two 0 test container $leader '' 1 NoSuchThing s x 2>&1 | grep -q 'unknown property'
		gone two`, false},
	{"kill the daemon", `
		systemctl kill --signal=KILL systemd-machined
		until_true systemctl is-failed --quiet systemd-machined
		both; running machined`, false},
	{"the service manager executes itself anew", `systemctl daemon-reexec; both; is "$(property one State)" running`, false},
	{"the stock daemon takes over", `stock; running systemd-machine; both; systemctl restart systemd-machined; test -e /run/systemd/machines/unit:systemd-nspawn@tree.service`, false},
	{"ours takes over", `ours; running machined; both; test ! -e /run/systemd/machines/unit:systemd-nspawn@tree.service`, false},
	{"journal", `journalctl --sync; journalctl --quiet MESSAGE_ID=24d8d4452573402496068381a6312df2 NAME=one _COMM=machined | grep -q 'New machine one.'`, false},
	{"restart the bus", `
		systemctl restart dbus
		until_true machinectl list
		running machined; both`, true},
	{"terminate", `
		machinectl terminate tree; until_true gone tree
		inactive() { [ "$(systemctl is-active systemd-nspawn@tree.service)" = inactive ]; }
		until_true inactive
		machinectl terminate one; until_true gone one
		until_true test ! -e /sys/fs/cgroup/machine.slice/machine-one.scope
		until_true sh -c '! systemctl list-units --all --plain --no-legend machine-one.scope | grep -q machine-one'
		is "$(ls -A /run/systemd/machines)" ""`, true},
	{"nothing was said about an error", `! journalctl --unit=systemd-machined --priority=err --quiet _COMM=machined | grep .`, true},
}

func TestOnASystemdHost(t *testing.T) {
	takeSteps(t, hosttest.Boot(t, testhost.Sid), helpers, steps)
}

func build(t *testing.T, program, path string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func takeSteps(t *testing.T, h *testhost.Host, helpers string, steps []step) {
	t.Helper()
	build(t, ".", h.Path("/var/tmp/machined"))
	for _, s := range steps {
		run := h.Unit
		if s.outside {
			run = h.Command
		}
		// A file, because the service manager has its own idea of what "$" means.
		if err := os.WriteFile(h.Path("/var/tmp/step"), []byte(helpers+s.script), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := run(ctx, "bash", "-e", "/var/tmp/step").CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.what, err, strings.TrimSpace(string(out)))
		}
	}
}

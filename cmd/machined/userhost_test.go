package main

import (
	"testing"

	"berth/fixtures/testhost"
	"berth/fixtures/testhost/hosttest"
)

// userHelpers come after helpers: what a user does, at whose bus and sockets.
const userHelpers = `
run=/run/user/$(id -u one || true)
as() { systemd-run --quiet --wait --pipe --collect --uid=one --setenv=HOME=/home/one --setenv=XDG_RUNTIME_DIR=$run --setenv=TERM=dumb "$@"; }
manager() { as busctl --user --quiet call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager "$@"; }
property() { as machinectl --user show "$1" --property="$2" --value; }
gone() { ! as machinectl --user show "$1"; }
main() { as systemctl --user show "$1.service" --property=MainPID --value; }
`

// The user's service manager starts the daemon at its socket, and the stock tools
// talk to it.
var userSteps = []step{
	{"a user", `
		useradd --create-home one
		mkdir /run/systemd/system/user@.service.d # nobody logs in here
		printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/run/systemd/system/user@.service.d/test.conf
		systemctl daemon-reload && systemctl start user@$(id -u one).service
		mkdir -p /etc/systemd/user/systemd-machined.service.d
		printf '[Service]\nExecStart=\nExecStart=/var/tmp/machined --user\n' >/etc/systemd/user/systemd-machined.service.d/berth.conf`, false},
	{"start by its socket", `
		as systemctl --user daemon-reload
		as systemctl --user start systemd-machined.socket
		as varlinkctl call $run/systemd/machine/io.systemd.Machine org.varlink.service.GetInfo '{}' | grep -q 'berth (machined)'
		is "$(as machinectl --user list --no-legend)" ""
		is "$(stat -c %a $run/systemd/machine/io.systemd.Machine)" 600`, false},
	{"create", `
		as systemd-run --user --quiet --service-type=exec --unit=lead sleep 7654
		leader=$(main lead)
		manager CreateMachine 'sayssusa(sv)' made 0 test container $leader '' 0
		is "$(property made Unit)" machine-made.scope
		is "$(tail -1 /proc/$leader/cgroup)" 0::/user.slice/user-$(id -u one).slice/user@$(id -u one).service/machine.slice/machine-made.scope
		is "$(readlink $run/systemd/machines/unit:machine-made.scope)" made`, false},
	{"register", `
		as systemd-run --user --quiet --service-type=exec --unit=place sleep 7655
		manager RegisterMachine sayssus placed 0 test container $(main place) ''
		is "$(property placed Unit)" place.service
		grep -qx UID=$(id -u one) $run/systemd/machines/placed`, false},
	{"kill the daemon", `
		as systemctl --user kill --signal=KILL systemd-machined
		until_true property made Unit
		is "$(property made Unit)/$(property placed Unit)" machine-made.scope/place.service`, false},
	{"terminate", `
		as machinectl --user terminate made placed
		until_true gone made; until_true gone placed
		is "$(ls -A $run/systemd/machines)" ""
		until_true sh -c '! pgrep -u one -f "sleep 765"'`, false},
	{"end when there is nothing to do", `
		idle() { [ "$(as systemctl --user is-active systemd-machined.service)" = inactive ]; }
		until_true idle`, false},
}

func TestOfAUserOnASystemdHost(t *testing.T) {
	h := hosttest.Boot(t, testhost.Sid)
	takeSteps(t, h, helpers+userHelpers, userSteps)
}

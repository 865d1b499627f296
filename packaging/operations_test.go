package packaging_test

import (
	"strings"
	"testing"

	"berth/fixtures/testhost"
)

// bootInner boots a machine with systemd, a copy of the host, with stock units
// and options: a user namespace among them.
func (h host) bootInner() {
	h.t.Helper()
	h.run(`
		mkdir -p /var/lib/machines/inner /etc/systemd/nspawn
		cd /var/lib/machines/inner
		tar -C / --one-file-system --exclude=./var/lib/machines --exclude=./src --exclude=./proc --exclude=./sys --exclude=./dev \
			--exclude=./run --exclude=./tmp --exclude=./root --exclude=./usr/share/doc --exclude=./usr/share/locale -cf - . | tar -xf -
		mkdir proc sys dev run tmp root
		rm -rf etc/systemd/system/systemd-machined.service.d
		: >etc/machine-id
		printf '[Network]\nPrivate=yes\nVirtualEthernet=no\n' >/etc/systemd/nspawn/inner.nspawn
		machinectl start inner
		for i in $(seq 600); do
			systemctl -M inner is-active --quiet multi-user.target 2>/dev/null && exit 0
			sleep 0.1
		done
		exit 1`)
}

// Stock clients do to running machines what they always did, within the sandbox
// of the stock unit.
func TestOperationsOnMachines(t *testing.T) {
	for _, suite := range []testhost.Suite{testhost.Sid, testhost.Trixie} {
		t.Run(string(suite), func(t *testing.T) { bootHost(t, suite).operate() })
	}
}

func (h host) operate() {
	h.t.Helper()
	h.run("make -s -C /src install")
	h.bootInner()
	h.check("machined", h.executable("systemd-machined"), libexec+"machined")

	h.run("mkdir -p /root/d/sub && echo content >/root/d/sub/file && chmod 640 /root/d/sub/file && ln /root/d/sub/file /root/d/hard")
	h.run("machinectl copy-to inner /root/d /srv/d && machinectl copy-from inner /srv/d /root/back && diff -r /root/d /root/back")
	h.check("copies", h.run("stat -c '%a %h %u:%g' /root/back/hard"), "640 2 0:0")
	h.run("! machinectl copy-to inner /root/d/hard /srv/d/hard && machinectl copy-to --force inner /root/d/hard /srv/d/hard")
	h.run("chmod 644 /root/d/hard && machinectl bind --mkdir --read-only inner /root/d /srv/bound")

	shell := "TERM=dumb machinectl -q shell "
	inside := h.run(shell + "inner /bin/sh -c 'cat /srv/bound/hard; stat -c %u /srv/d/hard; id -u' </dev/null")
	h.check("shell", strings.Join(strings.Fields(inside), " "), "content 0 0")
	h.check("shell of a user with a variable",
		h.run(shell+"--setenv=WORD=seven daemon@inner /bin/sh -c 'echo -n $WORD-$(id -un)' </dev/null"), "seven-daemon")
	h.check("shell of the host", h.run(shell+".host /bin/sh -c 'echo -n $((7 + 8))' </dev/null"), "15")
	for _, name := range []string{"inner", ".host"} {
		prompt := h.run("sleep 8 | timeout 8 script -qec 'machinectl -q login " + name + "' /dev/null || :")
		if !strings.Contains(prompt, "login:") {
			h.t.Errorf("login to %s shows %q", name, prompt)
		}
	}
	const call = "varlinkctl call /run/systemd/machine/io.systemd.Machine io.systemd.Machine."
	h.check("root directory", h.run(call+`OpenRootDirectory '{"name":"inner"}' | tr -d ' \n'`), `{"fileDescriptor":0}`)
	h.run(call + `List '{"name":"inner","acquireMetadata":"yes"}' | grep -q UIDShift`)
	h.run("journalctl -M inner -n 1 | grep -q .")
	h.run("machinectl poweroff inner")

	// Without systemd in it.
	h.start("tiny")
	h.check("shell without systemd", h.run(shell+"tiny /bin/sh -c 'echo $((7 + 8))' </dev/null"), "15")
}

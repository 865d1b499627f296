package packaging_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/fixtures/testhost"
	"berth/fixtures/testhost/hosttest"

	"github.com/google/go-cmp/cmp"
)

// host is a booted systemd host to install into.
type host struct {
	*testhost.Host
	t *testing.T
}

// bootHost boots a host in which /root/tree is what a machine needs, and
// /root/www/tree.tar.gz the same with what only root may unpack, served by HTTP.
func bootHost(t *testing.T, suite testhost.Suite) host {
	t.Helper()
	h := host{hosttest.Boot(t, suite), t}
	h.run(`
		mkdir -p /root/tree/bin /root/tree/usr/lib /root/tree/etc /root/tree/dev /root/www
		cp "$(command -v busybox)" /root/tree/bin/busybox
		ln -s busybox /root/tree/bin/sh
		echo ID=tiny >/root/tree/etc/os-release
		cp -a /root/tree /root/full
		mknod /root/full/dev/null c 1 3
		cp /root/full/bin/busybox /root/full/bin/su
		chown 1000:1000 /root/full/etc/os-release
		chmod 4755 /root/full/bin/su
		tar -C /root/full --numeric-owner -czf /root/www/tree.tar.gz .
		cd /root/www && sha256sum tree.tar.gz >SHA256SUMS
		ip link set lo up
		systemd-run --quiet --service-type=exec busybox httpd -f -p 127.0.0.1:80 -h /root/www`)
	return h
}

// run runs a shell script in the host and gives what it prints.
func (h host) run(script string, args ...string) string {
	h.t.Helper()
	argv := append([]string{"sh", "-euc", script, "script"}, args...)
	out, err := h.Command(h.t.Context(), argv...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// start starts a machine with systemd-nspawn, which registers it with whatever
// machined there is.
func (h host) start(name string) {
	h.t.Helper()
	h.run(`cp -a /root/tree /root/` + name + `
		systemd-run --quiet --unit=` + name + ` --service-type=notify --property=Delegate=yes \
			systemd-nspawn --quiet --keep-unit --machine=` + name + ` --directory=/root/` + name + ` \
			--private-network -- /bin/busybox sleep infinity`)
}

// machines are the names of those that run, as machinectl lists them.
func (h host) machines() string {
	h.t.Helper()
	return strings.Join(strings.Fields(h.run(`machinectl list --no-legend | cut -d' ' -f1`)), " ")
}

// executable is the program of a running service.
func (h host) executable(unit string) string {
	h.t.Helper()
	return h.run(`readlink "/proc/$(systemctl show --property=MainPID --value ` + unit + `)/exe"`)
}

// files describes all that install could have touched.
func (h host) files() string {
	h.t.Helper()
	return h.run(`find /etc /usr -printf '%p %y %m %l %s\n' | sort`)
}

// exposure is what systemd thinks of a unit's sandbox: 0 is best, 10 none.
func (h host) exposure(unit string) (points float64) {
	h.t.Helper()
	text := h.run("systemd-analyze security --no-pager " + unit + ".service | sed -n 's/.*Overall.*: \\([0-9.]*\\) .*/\\1/p'")
	if _, err := fmt.Sscan(text, &points); err != nil {
		h.t.Fatalf("exposure of %s: %q", unit, text)
	}
	return points
}

// check compares a fact about the host.
func (h host) check(what, got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// On a host with systemd's daemons ours take over and give back, while machines
// run; in between, stock clients do not notice, within the sandbox of the units.
func TestStockHost(t *testing.T) {
	for _, suite := range []testhost.Suite{testhost.Sid, testhost.Trixie} {
		t.Run(string(suite), func(t *testing.T) {
			h := bootHost(t, suite)
			before := h.files()
			stock := map[string]float64{}
			for _, unit := range []string{"systemd-machined", "systemd-importd"} {
				stock[unit] = h.exposure(unit)
			}
			h.start("early")
			h.run("make -s -C /src install")
			for unit, points := range stock {
				if ours := h.exposure(unit); ours > points {
					t.Errorf("the sandbox of %s is looser than stock: %.1f, was %.1f", unit, ours, points)
				}
			}
			h.check("machined", h.executable("systemd-machined"), libexec+"machined")
			h.check("machines after install", h.machines(), "early")
			h.start("late")
			h.check("machines", h.machines(), "early late")

			h.run("importctl --class=machine --verify=checksum pull-tar http://127.0.0.1/tree.tar.gz pulled")
			h.check("importd", h.executable("systemd-importd"), libexec+"importd")
			h.check("what only root may unpack",
				h.run("cd /var/lib/machines/pulled && stat -c '%F %t:%T %u %a' dev/null etc/os-release bin/su"),
				"character special file 1:3 0 644\nregular file 0:0 1000 644\nregular file 0:0 0 4755")
			if journal := h.Journal(t.Context(), "systemd-importd.service"); strings.Contains(journal, "cannot confine") {
				t.Errorf("the sandbox keeps workers from locking themselves in:\n%s", journal)
			}
			const fileCapability = "security.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA="
			h.run("setfattr -n security.capability -v ${1#*=} /var/lib/machines/pulled/bin/su", fileCapability)
			h.run("machinectl clone pulled cloned")
			h.check("a copy's capabilities of files", h.run("getfattr -m - -d --absolute-names /var/lib/machines/cloned/bin/su | grep ="), fileCapability)
			h.run("importctl --class=machine export-tar pulled /root/out.tar.gz")
			h.run("machinectl remove pulled cloned && machinectl clean")
			h.run(`setpriv --reuid=nobody --regid=nogroup --clear-groups busctl call org.freedesktop.import1 \
				/org/freedesktop/import1 org.freedesktop.import1.Manager ListImages st "" 0`)

			h.run("make -s -C /src install") // as an upgrade
			for range 2 {
				h.run("make -s -C /src uninstall")
			}
			h.check("machined", h.executable("systemd-machined"), "/usr/lib/systemd/systemd-machined")
			h.check("machines after uninstall", h.machines(), "early late")
			h.check("failed units", h.run("systemctl --failed --no-legend"), "")
			if diff := cmp.Diff(before, h.files()); diff != "" {
				t.Errorf("uninstall leaves (-before +after):\n%s", diff)
			}
		})
	}
}

// A command in a machine without a user namespace is what needs more than the
// stock sandbox.
func TestExecInTheSandbox(t *testing.T) {
	h := bootHost(t, testhost.Sid)
	h.run("make -s -C /src install TOOLS=yes")
	h.run("echo 'user:x:1000:1000::/:/bin/sh' >>/root/tree/etc/passwd")
	h.start("m")
	out, err := h.Unit(t.Context(), "/usr/local/bin/machinectl", "exec", "user@m", "busybox", "id", "-u").CombinedOutput()
	if err != nil || string(out) != "1000\n" {
		t.Errorf("%v: %q", err, out)
	}
}

// A systemd host without systemd's daemons gets units, and loses them again.
func TestHostWithoutStock(t *testing.T) {
	h := bootHost(t, testhost.Sid)
	h.run("systemctl stop systemd-machined.socket systemd-importd.socket systemd-machined systemd-importd")
	h.run("dpkg --force-depends --purge systemd-container >/dev/null && systemctl daemon-reload")
	before := h.files()
	for range 2 {
		h.run("make -s -C /src install")
	}
	h.check("sockets", h.run("systemctl is-active systemd-machined.socket systemd-importd.socket"), "active\nactive")
	// There are complaints about units of the host as well.
	h.check("complaints about units", h.run(`cd /usr/local/lib/systemd/system
		systemd-analyze verify --man=no ./systemd-*.service ./systemd-*.socket ./*.target 2>&1 | grep -e /usr/local -e '^systemd-[mi]' || true`), "")
	h.run("importctl --class=machine --verify=checksum pull-tar http://127.0.0.1/tree.tar.gz pulled")
	h.check("importd", h.executable("systemd-importd"), libexec+"importd")
	h.run("machinectl image-status pulled")
	h.check("machined", h.executable("systemd-machined"), libexec+"machined")
	h.run("machinectl remove pulled")
	// The bus starts what is not there.
	h.run("systemctl stop systemd-machined.socket systemd-importd.socket systemd-machined systemd-importd")
	h.run(`setpriv --reuid=nobody --regid=nogroup --clear-groups sh -euc '
		busctl call org.freedesktop.import1 /org/freedesktop/import1 org.freedesktop.import1.Manager ListTransfers
		busctl call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager ListMachines'`)
	h.run("make -s -C /src uninstall")
	for _, unit := range []string{"systemd-machined.service", "systemd-importd.service", "systemd-machined.socket"} {
		if err := h.Command(t.Context(), "systemctl", "is-active", "--quiet", unit).Run(); err == nil {
			t.Errorf("%s still runs", unit)
		}
	}
	if diff := cmp.Diff(before, h.files()); diff != "" {
		t.Errorf("uninstall leaves (-before +after):\n%s", diff)
	}
}

package packaging_test

import (
	"strings"
	"testing"

	"berth/fixtures/testhost"
)

// The host's own name services, and the stock clients of both interfaces, get
// their answers from within the sandbox of the unit.
func TestNameServices(t *testing.T) {
	h := bootHost(t, testhost.Sid)
	h.run("make -s -C /src install")
	h.run(`
		systemd-run --quiet --unit=lead --service-type=exec unshare --user --net --setuid=0 --setgid=0 \
			--map-users=0:1000000:65536 --map-groups=0:1000000:65536 \
			sh -c 'ip addr add 10.99.0.1/24 dev lo; ip link set lo up; exec busybox sleep infinity'
		leader=$(systemctl show --property=MainPID --value lead)
		until nsenter --net --target "$leader" ip addr | grep -q 10.99.0.1; do busybox usleep 100000; done
		varlinkctl call /run/systemd/machine/io.systemd.Machine io.systemd.Machine.Register \
			'{"name":"foo","class":"container","leader":'"$leader"'}'
		touch /root/file && chown 1000008:1000009 /root/file
		mkdir -p /root/disk/etc && echo 'PRETTY_NAME="On Disk"' >/root/disk/etc/os-release
		ln -s /etc/machine-id /root/disk/etc/machine-id
		mke2fs -q -t ext4 -d /root/disk /var/lib/machines/disk.raw 16M`)
	h.check("owner of a file", h.run("stat -c '%U %G' /root/file"), "vu-foo-8 vg-foo-9")
	h.check("user by name", h.run("getent passwd vu-foo-5"), "vu-foo-5:x:1000005:65534:UID 5 of Container foo:/:/usr/sbin/nologin")
	h.check("group by number", h.run("getent group 1000007"), "vg-foo-7:x:1000007:")
	h.check("root, who is the host's", h.run("id -un"), "root")
	h.check("address", h.run("resolvectl query --legend=no foo"), "foo: 10.99.0.1")
	if out, err := h.Command(t.Context(), "resolvectl", "query", "below.foo").CombinedOutput(); err == nil || !strings.Contains(string(out), "not found") {
		t.Errorf("below a machine: %v, %s", err, out)
	}
	h.check("mapping", h.run(`busctl call org.freedesktop.machine1 /org/freedesktop/machine1 \
		org.freedesktop.machine1.Manager MapFromMachineUser su foo 7`), "u 1000007")
	status := h.run("machinectl image-status disk")
	if !strings.Contains(status, "OS: On Disk") || strings.Contains(status, "Machine ID") {
		t.Errorf("image-status:\n%s", status)
	}
	h.check("loop devices", h.run("losetup --list --noheadings --output=BACK-FILE | grep -c disk.raw || true"), "0")
	h.run("systemctl stop lead")
	h.check("user of a machine that has ended", h.run("getent passwd vu-foo-5 || echo none"), "none")
}

// container makes the tree that systemd's tests start containers from.
const container = `
	tree=/usr/share/TEST-13-NSPAWN-container-template
	mkdir -p $tree/etc $tree/var $tree/root $tree/tmp $tree/dev $tree/proc $tree/sys $tree/run
	mkdir -p $tree/usr/bin $tree/usr/sbin $tree/usr/lib $tree/usr/lib64
	for dir in bin sbin lib lib64; do ln -s usr/$dir $tree/$dir; done
	for program in bash sleep ip env touch; do
		path=$(readlink -f "$(command -v $program)")
		cp "$path" $tree/usr/bin/$program
		for library in $(ldd "$path" | grep -o '/[^ ]*'); do
			mkdir -p "$tree${library%/*}"
			cp -nL "$library" "$tree$library"
		done
	done
	cp /usr/lib/os-release $tree/usr/lib/`

// systemd's own tests of its name services hold for ours.
func TestNameServicesBySystemdsOwnTests(t *testing.T) {
	h := bootHost(t, testhost.Sid)
	h.run("make -s -C /src install" + container)
	// The script looks for a module that is not called so, and else tests nothing.
	h.run(`cp -r /usr/lib/systemd/tests/testdata/units /root/units
		sed -i 's/check_nss_module mymachine\b/check_nss_module mymachines/' /root/units/TEST-13-NSPAWN.nss-mymachines.sh`)
	out, err := h.Unit(t.Context(), "bash", "/root/units/TEST-13-NSPAWN.nss-mymachines.sh").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hook_answer=") {
		t.Errorf("%v:\n%s", err, out)
	}
}

package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const libexec = "/usr/local/libexec/berth/"

// everywhere is what every host gets; directories do not count.
var everywhere = []string{
	libexec + "importd", libexec + "machined", libexec + "systemd-export", libexec + "systemd-import",
	libexec + "systemd-import-fs", libexec + "systemd-import-generator", libexec + "systemd-pull",
	"/usr/local/share/berth/manifest",
	"/usr/local/share/man/man8/berth-importd.8", "/usr/local/share/man/man8/berth-machined.8",
}

var tools = []string{
	"/usr/local/bin/importctl", "/usr/local/bin/machinectl",
	"/usr/local/share/bash-completion/completions/importctl", "/usr/local/share/bash-completion/completions/machinectl",
	"/usr/local/share/man/man1/importctl.1", "/usr/local/share/man/man1/machinectl.1",
	"/usr/local/share/zsh/site-functions/_importctl", "/usr/local/share/zsh/site-functions/_machinectl",
}

var bus = []string{
	"/etc/dbus-1/system.d/org.freedesktop.import1.conf", "/etc/dbus-1/system.d/org.freedesktop.machine1.conf",
	"/usr/local/share/dbus-1/system-services/org.freedesktop.import1.service",
	"/usr/local/share/dbus-1/system-services/org.freedesktop.machine1.service",
	"/usr/share/polkit-1/actions/org.freedesktop.import1.policy", "/usr/share/polkit-1/actions/org.freedesktop.machine1.policy",
}

// stockHost is what systemd-container brings, as far as install looks.
var stockHost = []string{
	"/usr/lib/systemd/systemd", "/usr/bin/machinectl", "/usr/bin/importctl",
	"/usr/lib/systemd/system/systemd-machined.service", "/usr/lib/systemd/system/systemd-importd.service",
	"/usr/lib/systemd/system/machine.slice", "/usr/lib/systemd/system/machines.target",
	"/usr/lib/systemd/user/systemd-machined.service", "/usr/lib/systemd/user/systemd-importd.service",
	"/usr/share/dbus-1/system.d/org.freedesktop.import1.conf", "/usr/share/dbus-1/system.d/org.freedesktop.machine1.conf",
	"/usr/share/dbus-1/system-services/org.freedesktop.import1.service",
	"/usr/share/dbus-1/system-services/org.freedesktop.machine1.service",
	"/usr/share/polkit-1/actions/org.freedesktop.import1.policy", "/usr/share/polkit-1/actions/org.freedesktop.machine1.policy",
}

var dropIns = []string{
	"/etc/dbus-1/system.d/berth-import1.conf",
	"/usr/local/lib/systemd/system/systemd-importd.service.d/50-berth.conf",
	"/usr/local/lib/systemd/system/systemd-machined.service.d/50-berth.conf",
}

func beneath(dir string, names ...string) []string {
	var out []string
	for _, name := range names {
		out = append(out, dir+name)
	}
	return out
}

var layouts = map[string]struct {
	host []string
	want [][]string
}{
	"nothing":      {nil, [][]string{everywhere, tools, bus}},
	"systemd":      {stockHost, [][]string{everywhere, dropIns}},
	"systemd only": {[]string{"/usr/lib/systemd/system/"}, [][]string{everywhere, tools, bus, units}},
	"OpenRC": {
		[]string{"/sbin/openrc-run", "/etc/init.d/", "/etc/inittab"},
		[][]string{everywhere, tools, bus, beneath("/etc/init.d/", "berth-importd", "berth-machined")},
	},
	"sysvinit": {
		[]string{"/etc/init.d/", "/etc/inittab"},
		[][]string{everywhere, tools, bus, beneath("/etc/init.d/", "berth-importd", "berth-machined")},
	},
	// As Debian has it, where packages bring units of systemd.
	"OpenRC with units": {
		slices.Concat(stockHost, []string{"/etc/init.d/", "/etc/inittab", "/sbin/openrc-run"}),
		[][]string{everywhere, dropIns[:1], bus[2:4], beneath("/etc/init.d/", "berth-importd", "berth-machined")},
	},
	"runit": {
		[]string{"/etc/sv/"},
		[][]string{everywhere, tools, bus, beneath("/etc/sv/berth-", "importd/run", "importd/log/run", "machined/run", "machined/log/run")},
	},
	"runit of Artix": {
		[]string{"/etc/runit/"},
		[][]string{everywhere, tools, bus, beneath("/etc/runit/sv/berth-", "importd/run", "importd/log/run", "machined/run", "machined/log/run")},
	},
}

var units = append(beneath("/usr/local/lib/systemd/system/",
	"dbus-org.freedesktop.import1.service", "dbus-org.freedesktop.machine1.service", "machine.slice", "machines.target",
	"sockets.target.wants/systemd-importd.socket", "sockets.target.wants/systemd-machined.socket",
	"systemd-importd.service", "systemd-importd.socket", "systemd-machined.service", "systemd-machined.socket"),
	"/usr/local/lib/systemd/system-generators/systemd-import-generator")

// What is installed is what fits the host, all of it is in the manifest, and
// nothing of it is left afterwards. Everything may be done twice.
func TestLayouts(t *testing.T) {
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t, layout.host...)
			before := tr.list()
			tr.mustMake("install")
			once := tr.list()
			all := added(t, before, once)
			tr.mustMake("install")
			if diff := cmp.Diff(once, tr.list()); diff != "" {
				t.Errorf("the second install changed (-once +twice):\n%s", diff)
			}
			want := slices.Sorted(slices.Values(slices.Concat(layout.want...)))
			files := slices.DeleteFunc(slices.Clone(all), func(path string) bool { return strings.HasPrefix(once[path], "d") })
			if diff := cmp.Diff(want, files); diff != "" {
				t.Errorf("installed (-want +got):\n%s", diff)
			}
			checkManifest(t, tr, all)
			checkFilled(t, tr, files)
			for range 2 {
				tr.mustMake("uninstall")
				if diff := cmp.Diff(before, tr.list()); diff != "" {
					t.Errorf("uninstall leaves (-before +after):\n%s", diff)
				}
			}
		})
	}
}

// checkManifest wants each path that was added in the manifest once, but for
// the manifest itself.
func checkManifest(t *testing.T, tr *tree, all []string) {
	t.Helper()
	var listed []string
	for line := range strings.Lines(tr.read("/usr/local/share/berth/manifest")) {
		_, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		listed = append(listed, path)
	}
	slices.Sort(listed)
	want := slices.DeleteFunc(slices.Clone(all), func(path string) bool { return path == "/usr/local/share/berth/manifest" })
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("manifest (-made +listed):\n%s", diff)
	}
}

// checkFilled wants no text in which the place of the daemons is missing.
func checkFilled(t *testing.T, tr *tree, files []string) {
	t.Helper()
	for _, path := range files {
		if path == units[len(units)-1] {
			continue // an absolute link, which leads out of the tree
		}
		if regexp.MustCompile("@[A-Z]+@").MatchString(tr.read(path)) {
			t.Errorf("%s does not say where the daemons are", path)
		}
	}
}

// The bus has the init system start a daemon, where that can.
func TestActivation(t *testing.T) {
	for layout, want := range map[string]string{
		"nothing":      "Exec=" + libexec + "importd\n",
		"OpenRC":       "Exec=/etc/init.d/berth-importd start\n",
		"sysvinit":     "Exec=/etc/init.d/berth-importd start\n",
		"systemd only": "SystemdService=dbus-org.freedesktop.import1.service\n",
	} {
		tr := newTree(t, layouts[layout].host...)
		tr.mustMake("install")
		if got := tr.read(bus[2]); !strings.Contains(got, want) || !strings.Contains(got, "User=root\n") {
			t.Errorf("%s: %s", layout, got)
		}
	}
}

func TestToolsAreForcedAndRefused(t *testing.T) {
	stock, plain := newTree(t, stockHost...), newTree(t)
	stock.mustMake("install", "TOOLS=yes")
	if stock.read("/usr/local/bin/machinectl") != program {
		t.Error("TOOLS=yes does not install machinectl")
	}
	plain.mustMake("install")
	plain.mustMake("install", "TOOLS=no")
	for _, path := range tools {
		if _, err := os.Lstat(filepath.Join(plain.dir, path)); err == nil {
			t.Errorf("TOOLS=no leaves %s of the first install", path)
		}
	}
}

// Each host has its own idea of where things are looked for.
func TestPrefixes(t *testing.T) {
	for prefix, dir := range map[string]string{"/usr": "/usr/lib/systemd", "/opt/berth": "/etc/systemd"} {
		tr := newTree(t, stockHost...)
		before := tr.list()
		tr.mustMake("install", "PREFIX="+prefix)
		got := tr.read(dir + "/system/systemd-machined.service.d/50-berth.conf")
		if !strings.Contains(got, "\nExecStart="+prefix+"/libexec/berth/machined\n") {
			t.Errorf("drop-in: %s", got)
		}
		tr.mustMake("uninstall", "PREFIX="+prefix)
		if diff := cmp.Diff(before, tr.list()); diff != "" {
			t.Errorf("uninstall leaves (-before +after):\n%s", diff)
		}
	}
}

// Packages are put together in an empty tree, which tells nothing.
func TestInitAndStockAreGiven(t *testing.T) {
	tr := newTree(t)
	tr.mustMake("install", "INIT=systemd", "STOCK=yes")
	tr.read("/usr/local/lib/systemd/system/systemd-importd.service.d/50-berth.conf")
	for _, wrong := range []string{"INIT=upstart", "STOCK=maybe INIT=systemd", "TOOLS=some", "PREFIX=usr", "PREFIX=/a|b"} {
		if out, err := tr.make("install", strings.Fields(wrong)...); err == nil || strings.Count(out, "install: ") != 1 {
			t.Errorf("%s: %v, %s", wrong, err, out)
		}
	}
}

// Instances for users are replaced by a daemon that has them.
func TestUserUnits(t *testing.T) {
	tr := newTree(t, stockHost...)
	for _, name := range []string{"importd", "machined"} {
		write(t, filepath.Join(tr.bin, name), "#!/bin/sh\necho ' --user  for a user'\n", 0o755)
	}
	tr.mustMake("install")
	got := tr.read("/usr/local/lib/systemd/user/systemd-machined.service.d/50-berth.conf")
	if !strings.Contains(got, "\nExecStart="+libexec+"machined --user\n") {
		t.Errorf("drop-in: %s", got)
	}
	got = tr.read("/usr/local/lib/systemd/user/systemd-importd.service.d/50-berth.conf")
	if !strings.Contains(got, "\nExecStart="+libexec+"importd --user\n") {
		t.Errorf("the drop-in for importd is:\n%s", got)
	}
}

// A file of somebody else ends the installation, and can be taken back with what
// was there by then.
func TestForeignFilesStay(t *testing.T) {
	for _, path := range []string{libexec + "importd", libexec + "systemd-pull", "/etc/init.d/berth-importd"} {
		tr := newTree(t, append(layouts["OpenRC"].host, path)...)
		before := tr.list()
		if out, err := tr.make("install"); err == nil || !strings.Contains(out, path+" belongs to something else") {
			t.Errorf("%v: %s", err, out)
		}
		tr.mustMake("uninstall")
		if diff := cmp.Diff(before, tr.list()); diff != "" {
			t.Errorf("uninstall leaves (-before +after):\n%s", diff)
		}
	}
}

// A directory that others use by now stays, with what they put there.
func TestSharedDirectoriesStay(t *testing.T) {
	tr := newTree(t, stockHost...)
	tr.mustMake("install")
	const other = "/usr/local/lib/systemd/system/systemd-importd.service.d/60-proxy.conf"
	tr.add(other, "[Service]\n")
	tr.mustMake("uninstall")
	if got := tr.read(other); got != "[Service]\n" {
		t.Errorf("the file of another: %q", got)
	}
	if _, err := os.Stat(filepath.Join(tr.dir, "/usr/local/lib/systemd/system/systemd-machined.service.d")); err == nil {
		t.Error("a directory that nobody needs stays")
	}
}

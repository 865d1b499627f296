package packaging_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/privatebus"

	"github.com/godbus/dbus/v5"
)

// nobody is the user that policies are tried with.
const nobody = 65534

// A service is what a policy is about.
type service struct {
	name    string   // of the policy, and the bus name's last part
	api     string   // directory of the adapter
	methods []string // INTERFACE MEMBER
}

func services(t *testing.T) []service {
	t.Helper()
	all := []service{{name: "machine1", api: "machineapi"}, {name: "import1", api: "importapi"}}
	for i := range all {
		all[i].methods = declared(t, all[i])
	}
	return all
}

// declared reads the methods from the introspection that the adapters' tests
// compare with what they export.
func declared(t *testing.T, s service) []string {
	t.Helper()
	files, err := filepath.Glob("../cmd/internal/" + s.api + "/testdata/dbus-*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("introspection of %s: %v", s.api, err)
	}
	var methods []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var node struct {
			Interfaces []struct {
				Name    string `xml:"name,attr"`
				Methods []struct {
					Name string `xml:"name,attr"`
				} `xml:"method"`
			} `xml:"interface"`
		}
		if err := xml.Unmarshal(text, &node); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, i := range node.Interfaces {
			for _, m := range i.Methods {
				methods = append(methods, i.Name+" "+m.Name)
			}
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// policedBus runs a bus with policies on which root owns both services, which
// have no objects.
func policedBus(t *testing.T, policies ...string) (address string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root, to be another user as well")
	}
	if _, err := exec.LookPath("busctl"); err != nil {
		t.Skip("NOT TESTED: needs busctl")
	}
	dir := t.TempDir()
	// Others may pass through it only if they may pass through the one above.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "bus")
	t.Cleanup(privatebus.Run(t, socket, policies...))
	address = "unix:path=" + socket
	// A policy about one name goes for all names of a connection.
	for _, name := range []string{"machine1", "import1"} {
		conn, err := dbus.Connect(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // nothing is left to lose
		if reply, err := conn.RequestName("org.freedesktop."+name, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
			t.Fatalf("root owns %s: %v, %v", name, reply, err)
		}
	}
	return address
}

// reaches says whether a call of nobody gets to the service.
func reaches(t *testing.T, address, name, method string) bool {
	t.Helper()
	iface, member, _ := strings.Cut(method, " ")
	cmd := exec.CommandContext(t.Context(), "busctl", "--address="+address,
		"call", "org.freedesktop."+name, "/org/freedesktop/"+name, iface, member)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	switch {
	case strings.Contains(string(out), "Access denied"):
		return false
	case err == nil, strings.Contains(strings.ToLower(string(out)), "object"): // that there is no such one
		return true
	}
	t.Fatalf("%s: neither the bus nor the service answers: %v, %s", method, err, out)
	return false
}

// Every method that a daemon has can be called by everybody, for the daemon to
// decide; only what would change the daemon itself is root's.
func TestBusPolicies(t *testing.T) {
	address := policedBus(t, policy(t, "org.freedesktop.machine1.conf"), policy(t, "org.freedesktop.import1.conf"))
	for _, s := range services(t) {
		for _, method := range s.methods {
			want := method != "org.freedesktop.DBus.Properties Set"
			if got := reaches(t, address, s.name, method); got != want {
				t.Errorf("%s: %s of a user gets through: %t, want %t", s.name, method, got, want)
			}
		}
	}
}

// systemd's policies allow what ours do once the missing line is there.
func TestStockBusPolicies(t *testing.T) {
	var stock []string
	for _, name := range []string{"machine1", "import1"} {
		path := "/usr/share/dbus-1/system.d/org.freedesktop." + name + ".conf"
		if _, err := os.Stat(path); err != nil {
			t.Skip("NOT TESTED: needs systemd's policies (Debian package systemd-container)")
		}
		stock = append(stock, path)
	}
	const method = "org.freedesktop.import1.Manager ListImages"
	if reaches(t, policedBus(t, stock...), "import1", method) {
		t.Log("systemd's own policy allows ListImages now")
	}
	if !reaches(t, policedBus(t, append(stock, policy(t, "berth-import1.conf"))...), "import1", method) {
		t.Error("a user cannot call ListImages")
	}
}

func policy(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("dbus/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// action is one of polkit's.
type action struct {
	ID          string `xml:"id,attr"`
	Message     string `xml:"message"`
	AllowActive string `xml:"defaults>allow_active"`
	AllowAny    string `xml:"defaults>allow_any"`
	Annotations []struct {
		Key   string `xml:"key,attr"`
		Value string `xml:",chardata"`
	} `xml:"annotate"`
}

func actions(t *testing.T, name string) map[string]action {
	t.Helper()
	text, err := os.ReadFile("polkit/org.freedesktop." + name + ".policy")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Actions []action `xml:"action"`
	}
	if err := xml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	all := map[string]action{}
	for _, a := range config.Actions {
		all[a.ID] = a
	}
	return all
}

// Each action that a daemon asks about is known, and what an action implies is
// an action too: systemd's imply some of logind by mistake.
func TestPolkitActions(t *testing.T) {
	for _, s := range services(t) {
		all := actions(t, s.name)
		source, err := os.ReadFile("../cmd/internal/" + s.api + "/actions.go")
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`"(org\.freedesktop\.`+s.name+`\.[a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
		if len(asked) == 0 {
			t.Errorf("%s asks about nothing", s.api)
		}
		for _, a := range asked {
			if _, ok := all[a[1]]; !ok {
				t.Errorf("%s is not in the policy", a[1])
			}
		}
		for id, a := range all {
			if a.Message == "" || a.AllowAny != "auth_admin" || a.AllowActive == "" {
				t.Errorf("%s: %+v", id, a)
			}
			for _, note := range a.Annotations {
				for implied := range strings.FieldsSeq(note.Value) {
					if _, ok := all[implied]; !ok {
						t.Errorf("%s implies %s, which is not in the policy", id, implied)
					}
				}
			}
		}
	}
}

// Whatever is XML is whole.
func TestXML(t *testing.T) {
	for _, pattern := range []string{"dbus/*.conf", "polkit/*.policy"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			d := xml.NewDecoder(f)
			for err == nil {
				_, err = d.Token()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", file, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

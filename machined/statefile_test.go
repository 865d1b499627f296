package machined

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var cmpMachine = cmp.AllowUnexported(Machine{})

// run1 is the machine of testdata/state-262.txt, which the stock daemon wrote.
func run1() Machine {
	return Machine{
		Name: "run1", Unit: "systemd-nspawn@run1.service", Service: "systemd-nspawn", RootDirectory: "/var/lib/machines/run1",
		ID: [16]byte{
			0x87, 0xe8, 0x6c, 0x69, 0x10, 0xfd, 0x4f, 0x28, 0xb7, 0x0b, 0x25, 0xf8, 0x80, 0xa5, 0x5e, 0x0a,
		},
		Leader: ProcessID{120, 91834}, Supervisor: ProcessID{114, 91828}, Class: ClassContainer,
		Realtime: 1795474511898999, Monotonic: 6517029100, NetworkInterfaces: []int{2}, VSockCID: AnyCID, State: StateRunning,
	}
}

func TestStateFileIsThatOfTheStockDaemon(t *testing.T) {
	golden, err := os.ReadFile("testdata/state-262.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), string(formatState(run1()))); diff != "" {
		t.Errorf("written (-stock +ours):\n%s", diff)
	}
	got, err := parseState("run1", golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(run1(), got, cmpMachine); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestStateFileRoundTrip(t *testing.T) {
	m := run1()
	m.Unit, m.Subgroup, m.cgroup = `machine-foo\x2dbar.scope`, "payload/a b", `/machine.slice/machine-foo\x2dbar.scope`
	m.supervised, m.managed = true, true
	m.RootDirectory = "/srv/it's \"$HOME\" `x` \\ ende "
	m.Service = "trailing blanks  "
	m.SSHAddress, m.SSHPrivateKeyPath, m.ControlAddress = "vsock/7", "/run/kéy", "/run/c;d"
	m.NetworkInterfaces, m.UID = []int{3, 4, 2147483647}, 4294967294
	text := formatState(m)
	if !bytes.Contains(text, []byte("NETIF=\" 3 4 2147483647\"\n")) || !bytes.Contains(text, []byte(`SCOPE="machine-foo\\x2dbar.scope"`)) {
		t.Errorf("state file:\n%s", text)
	}
	got, err := parseState("run1", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmpMachine); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestParseOldAndForeignStateFiles(t *testing.T) {
	// What releases up to 257 wrote, with a key of the future and odd quoting.
	text := "# comment\n\n; comment\nNAME=old\n  SCOPE=machine-old.scope\nSCOPE_JOB=/org/x\nLEADER=77\nCLASS='vm' \n" +
		"SERVICE=\"a\\$b\\xc\"  \nFUTURE=\"two\nlines\"\nREALTIME=1\nMONOTONIC=2"
	got, err := parseState("old", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Machine{
		Name: "old", Unit: "machine-old.scope", Leader: ProcessID{PID: 77}, Class: ClassVM, Service: `a$b\xc`,
		Realtime: 1, Monotonic: 2, VSockCID: AnyCID, State: StateRunning,
	}
	if diff := cmp.Diff(want, got, cmpMachine); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestParseStateRefuses(t *testing.T) {
	base := "NAME=a\nLEADER=5\nCLASS=vm\n"
	for what, text := range map[string]string{
		"empty file":     "",
		"other name":     "NAME=b\nLEADER=5\nCLASS=vm\n",
		"no leader":      "NAME=a\nCLASS=vm\n",
		"init as leader": "NAME=a\nLEADER=1\nCLASS=vm\n",
		"class host":     "NAME=a\nLEADER=5\nCLASS=host\n",
		"no assignment":  base + "garbage\n",
		"open quote":     base + "ROOT=\"/x\n",
		"control byte":   base + "ROOT=/x\x01\n",
		"bad number":     base + "UID=-1\n",
		"bad pid":        base + "SUPERVISOR=99999999999\n",
		"bad id":         base + "ID=zz\n",
		"short id":       base + "ID=aabb\n",
		"bad interface":  base + "NETIF=\" 0\"\n",
		"NUL bytes":      base + "\x00\x00\x00",
		"too long":       base + "ROOT=/" + string(bytes.Repeat([]byte("x"), maxStateFile)),
	} {
		if _, err := parseState("a", []byte(text)); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: error %v, want errCorrupt", what, err)
		}
	}
}

func FuzzParseState(f *testing.F) {
	golden, err := os.ReadFile("testdata/state-262.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte("NAME=run1\nLEADER=5\nCLASS=vm\nROOT='/a b'\\ c\nNETIF=\" 3\"\n"))
	f.Add([]byte("NAME=run1\nLEADER=5\nCLASS=vm\nROOT=\"\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseState("run1", text)
		if err != nil {
			return
		}
		again, err := parseState("run1", formatState(m))
		if err != nil {
			t.Fatalf("%+v cannot be read back: %v", m, err)
		}
		if m.Leader.PID == 0 {
			m.Leader.PIDFDID = 0
		}
		if m.Supervisor.PID == 0 {
			m.Supervisor.PIDFDID = 0 // written only with its PID
		}
		if m.VSockCID == 0 {
			m.VSockCID = AnyCID // not written
		}
		if diff := cmp.Diff(m, again, cmpMachine); diff != "" {
			t.Errorf("read back (-first +second):\n%s", diff)
		}
	})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"

	"github.com/google/go-cmp/cmp"
)

func TestPropertiesThatAreAskedFor(t *testing.T) {
	lists := [][]property{
		{{"Name", "a"}, {"Service", ""}, {"Odd", "two\nlines"}},
		{{"Name", "b"}, {"Service", "x"}, {"Odd", ""}},
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "Name=a\nOdd=[unprintable]\n\nName=b\nService=x\n"},
		{[]string{"-a"}, "Name=a\nService=\nOdd=[unprintable]\n\nName=b\nService=x\nOdd=\n"},
		{[]string{"-p", "Service,Name"}, "Name=a\nService=\n\nName=b\nService=x\n"},
		{[]string{"-pService", "--value"}, "\n\nx\n"},
		{[]string{"-P", "Name"}, "a\n\nb\n"},
		{[]string{"-p", "Name=b"}, "\nName=b\n"},
	} {
		var out bytes.Buffer
		tool, _ := toolFor(t, test.args...)
		if err := tool.objects(&out, lists); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}

func TestAddressesInLists(t *testing.T) {
	machine := machineapi.Machine{Name: "m", Class: "container", Addresses: []machineapi.Address{
		{Family: 2, Address: []int{10, 0, 0, 2}},
		{Family: 10, Address: []int{254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
		{Family: 2, Address: []int{1, 2, 3}}, // nonsense
	}}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "m container - - - 10.0.0.2…\n"},
		{[]string{"--max-addresses=all"}, "m container - - - 10.0.0.2\n                  fe80::1\n"},
		{[]string{"--full"}, "m container - - - 10.0.0.2\n                  fe80::1\n"},
		{[]string{"--max-addresses=0", "-l"}, "m container - - -\n"},
		{[]string{"-j"}, `[{"machine":"m","class":"container","service":null,"os":null,"version":null,"addresses":"10.0.0.2\nfe80::1"}]` + "\n"},
	} {
		tool, stdout := toolFor(t, append(test.args, "--no-legend")...)
		if err := tool.ShowTable(t.Context(), tool.machineTable([]machineapi.Machine{machine}), "machines"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, stdout()); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}

func TestStatusOfOddMachines(t *testing.T) {
	vsock := uint32(3)
	nobody := func(int) string { return "" }
	got := machineStatus(machineapi.Description{
		Machine: machineapi.Machine{
			Name: "a\x1b[2J", Class: "vm", UID: 1000, VSockCID: &vsock, Leader: &machineapi.ProcessID{PID: 7},
			Addresses: []machineapi.Address{
				{Address: []int{10, 0, 0, 2}}, {Address: []int{254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
			},
		},
		Interfaces: []int32{9},
	}, statusContext{time.UTC, time.Now(), nobody, nobody})
	want := "a\\x1b[2J\n\t  Leader: 7\n\t   Class: vm\n\t     UID: 1000\n\t   Iface: 9\n" +
		"\t Address: 10.0.0.2\n\t          fe80::1%9\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	size, part := uint64(3<<20), uint64(1<<20)
	got = describeImage(machineapi.Image{
		Name: "i", Type: images.TypeSubvolume, ReadOnly: true, MachineID: "0123", Hostname: "h",
		MachineInfo: []string{"DEPLOYMENT=test"}, Usage: &size, UsageExclusive: &part, Limit: &size,
	}, statusContext{zone: time.UTC, now: time.Now()})
	want = "i\n\t    Type: subvolume\n\tHostname: h\n      Machine ID: 0123\n      Deployment: test\n\t      RO: read-only\n" +
		"\t   Usage: 3M (exclusive: 1M)\n\t   Limit: 3M\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSignals(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"TERM": 15, "SIGKILL": 9, "1": 1, "64": 64, "RTMIN+4": 38, "SIGRTMIN": 34, "SIGRTMAX-2": 62, "RTMAX": 64,
		"": 0, "0": 0, "65": 0, "-1": 0, "RTMIN+31": 0, "RTMIN-1": 0, "RTMAX+1": 0, "SIGNONE": 0, "RTMINx": 0,
	} {
		got, err := parseSignal(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	names := signalNames()
	if names[0] != "SIGHUP" || !slices.Contains(names, "SIGRTMIN+29") || names[len(names)-1] != "SIGRTMAX" {
		t.Errorf("names: %q", names)
	}
	for _, name := range names {
		if _, err := parseSignal(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if signalPowerOff != 38 {
		t.Errorf("power off is signal %d", signalPowerOff)
	}
}

func TestUserAndMachine(t *testing.T) {
	for text, want := range map[string][2]string{
		"m": {"dflt", "m"}, "alice@m": {"alice", "m"}, "alice@": {"alice", ".host"}, "": {"dflt", ".host"},
	} {
		tool, _ := toolFor(t, "--uid=dflt")
		user, machine, err := tool.userAndMachine(text)
		if user != want[0] || machine != want[1] || err != nil {
			t.Errorf("%q: %q, %q, %v", text, user, machine, err)
		}
	}
	tool, _ := toolFor(t)
	if _, _, err := tool.userAndMachine("@m"); err == nil {
		t.Error("a user without name was taken")
	}
}

func TestEndOfACommand(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted{syscall.SIGTERM})
	for _, test := range []struct {
		ctx    context.Context
		status int
		err    error
		want   int
	}{
		{t.Context(), 0, nil, 0},
		{t.Context(), 7, nil, 7},
		{t.Context(), 0, &machineapi.ExecError{Reason: "x", ExitStatus: 127}, 127},
		{t.Context(), 0, errors.New("x"), 125},
		{ended, 0, errors.New("x"), 143},
	} {
		err := execEnd(test.ctx, test.status, test.err)
		if got := cli.ExitStatus(err); got != test.want {
			t.Errorf("%d, %v: status %d, want %d", test.status, test.err, got, test.want)
		}
		if said := cli.Message(err) != ""; said != (test.err != nil && test.ctx == t.Context()) {
			t.Errorf("%d, %v: message %q", test.status, test.err, cli.Message(err))
		}
	}
}

func TestCleanReport(t *testing.T) {
	got := cleanReport([]images.Removed{{Name: ".a", UsageExclusive: 1536}, {Name: ".b", UsageExclusive: images.Unknown}})
	want := "Removed image '.a'. Freed exclusive disk space: 1.5K\nRemoved image '.b'.\n" +
		"Removed 2 images in total. Freed exclusive disk space: 1.5K\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestForwardedOptions(t *testing.T) {
	tool, _ := toolFor(t, "--no-pager", "--no-legend", "--read-only", "--force", "-q", "--no-ask-password",
		"--verify=checksum", "--format=xz", "-o", "json")
	want := []string{
		"importctl", "--class=machine", "--no-pager", "--no-legend", "--read-only", "--force", "--quiet",
		"--no-ask-password", "--verify=checksum", "--format=xz", "--json=short",
	}
	if diff := cmp.Diff(want, tool.forwardedOptions()); diff != "" {
		t.Error(diff)
	}
	for option, forwarded := range map[string]string{
		"--user": "--user", "-Hroot@h": "--host=root@h", "-Malice@.host": "--machine=alice@.host",
	} {
		tool, _ = toolFor(t, option)
		if diff := cmp.Diff(append(want[:2:2], forwarded), tool.forwardedOptions()); diff != "" {
			t.Error(diff)
		}
	}
	tool, _ = toolFor(t)
	if diff := cmp.Diff(want[:2], tool.forwardedOptions()); diff != "" {
		t.Error(diff)
	}
}

func TestGroupDir(t *testing.T) {
	const mounts = "1 2 0:1 / /sys/fs/cgroup rw - tmpfs t rw\n1 2 0:1 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n"
	for groups, want := range map[string]string{
		"1:name=x:/\n0::/machine.slice/machine-a.scope/payload/init.scope\n": "/sys/fs/cgroup/unified/machine.slice/machine-a.scope/payload",
		"0::/elsewhere\n": "",
		"":                "",
	} {
		if got := groupDir(mounts, groups, "machine-a.scope", "payload"); got != want {
			t.Errorf("%q: %q, want %q", groups, got, want)
		}
	}
	if got := groupDir(mounts, "0::/a/init.scope\n", "-.slice", ""); got != "/sys/fs/cgroup/unified/a" {
		t.Errorf("of the host: %q", got)
	}
	if got := groupDir("", "0::/machine-a.scope\n", "machine-a.scope", ""); got != "" {
		t.Errorf("without cgroup v2: %q", got)
	}
}

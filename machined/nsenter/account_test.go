package nsenter

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const passwdText = `root:x:0:0::/root:/bin/bash
+nis:x:3:3::/:/bin/sh
#note:x:4:4::/:/bin/sh
short:x:5:5
huge:x:4294967295:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
1000:x:7:7::/seven:/bin/sh
alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh
again:x:1000:1001::/home/again:/bin/sh
bare:x:1001:1001:::
`

func TestFindUser(t *testing.T) {
	for name, want := range map[string]Account{
		"root":  {Name: "root", Home: "/root", Shell: "/bin/bash"},
		"0":     {Name: "root", Home: "/root", Shell: "/bin/bash"},
		"alice": {Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Shell: "/bin/zsh"},
		"1000":  {Name: "1000", UID: 7, GID: 7, Home: "/seven", Shell: "/bin/sh"},
		"1001":  {Name: "bare", UID: 1001, GID: 1001, Home: "/", Shell: "/bin/sh"},
		"+nis":  {}, "#note": {}, "short": {}, "huge": {}, "minus": {}, "": {}, "4294967295": {}, "65535": {},
	} {
		got, ok := findUser([]byte(passwdText), name)
		if ok != (want.Name != "") || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", name, got, ok, want)
		}
	}
}

func TestFindGroups(t *testing.T) {
	text := "a:x:5:bob,alice\nb:x:3:alice\nb2:x:3:alice\nown:x:1000:alice\nno:x:9:malice,alicea\nbad:x:x:alice\nshort:x:8\n"
	got := findGroups([]byte(text), Account{Name: "alice", UID: 1000, GID: 1000})
	if !slices.Equal(got, []uint32{3, 5}) {
		t.Errorf("groups %v", got)
	}
	if many := findGroups([]byte(manyGroups(maxGroups+10)), Account{Name: "a", GID: 0}); len(many) != maxGroups {
		t.Errorf("%d groups, the kernel takes %d", len(many), maxGroups)
	}
}

func manyGroups(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString("g:x:" + strconv.Itoa(70000+i) + ":a\n")
	}
	return text.String()
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus("Name:\tx\nCapBnd:\t00000000fdecbfff\nNoNewPrivs:\t1\n")
	if err != nil || got != (status{bounding: 0xfdecbfff, noNewPrivs: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseStatus("CapBnd:\t0\nSeccomp:\t2\n"); err != nil || got != (status{seccomp: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "CapBnd:\tx\n", "NoNewPrivs:\t0\n", "CapBnd:\t0\nSeccomp:\tx\n"} {
		if _, err := parseStatus(text); err == nil {
			t.Errorf("%q is no status", text)
		}
	}
}

func TestParseStat(t *testing.T) {
	rest := strings.Repeat(" 1", 41) // fields 10 to 50
	for stat, want := range map[string]bool{
		"12 (a) b (c) S 1 12 12 0 -1 4194560" + rest + " 77 0": true,
		"12 (a) b (c) S 1 12 12 0 -1 4194624" + rest + " 77 0": false, // not executed yet
		"12 (a) b (c) S 1 12 12 0 -1 4194560" + rest + " 0 0":  false, // in the middle of it
	} {
		if got, err := parseStat(stat); err != nil || got != want {
			t.Errorf("%q: %v, %v", stat, got, err)
		}
	}
	for _, text := range []string{"", "12 (a", "12 (a) S 1 1 1 0 -1 x" + rest + " 7", "12 (a) S 1 1 1 0 -1 64"} {
		if _, err := parseStat(text); err == nil {
			t.Errorf("%q is no stat line", text)
		}
	}
}

func TestContainerWord(t *testing.T) {
	for value, want := range map[string]string{
		"systemd-nspawn": "systemd-nspawn", "lxc": "lxc", "": "", "a b": "", "a\nB=c": "",
		strings.Repeat("a", 65): "",
	} {
		if got := containerWord(value); got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}

func TestCandidates(t *testing.T) {
	for command, want := range map[string][]string{
		"/bin/ls": {"/bin/ls"}, "./ls": {"./ls"}, "ls": {"/a/ls", "/b/ls"},
	} {
		if got := candidates(command, []string{"PATH=/a::.:b:/b"}); !slices.Equal(got, want) {
			t.Errorf("%s: %q", command, got)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte(passwdText), "alice")
	f.Add([]byte("a:x:5:bob,alice\n"), "a")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if user, ok := findUser(text, name); ok {
			if user.UID == 1<<32-1 || user.GID == 1<<32-1 || !strings.HasPrefix(user.Home, "/") || strings.ContainsAny(user.Home, "\x00\n") {
				t.Errorf("%+v", user)
			}
		}
		findGroups(text, Account{Name: name})
	})
}

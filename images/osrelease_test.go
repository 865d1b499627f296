package images

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOSRelease(t *testing.T) {
	const text = "# comment\nNAME=\"Debian GNU/Linux\"\n; other\n\nID=debian \r\n  PRETTY_NAME='It'\\''s' \nVERSION=\"a \\\"b\\\" \\$c \\x\"\n" +
		"bad line\n1X=no\nEMPTY=\nJOINED=a\"b c\"'d'\nLONG=one\\\ntwo\nNAME=Second\nLAST=\"no end"
	want := []KeyValue{
		{"NAME", "Second"},
		{"ID", "debian"},
		{"PRETTY_NAME", "It's"},
		{"VERSION", `a "b" $c \x`},
		{"EMPTY", ""},
		{"JOINED", "ab cd"},
		{"LONG", "onetwo"},
		{"LAST", "no end"},
	}
	if diff := cmp.Diff(want, ParseOSRelease([]byte(text))); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nNAME=\"x y\" # z\n"))
	f.Add([]byte("A='\nB=\\"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := ParseOSRelease(data)
		if len(got) > maxAssignments {
			t.Errorf("%d assignments", len(got))
		}
		seen := map[string]bool{}
		for _, kv := range got {
			if kv.Key == "" || seen[kv.Key] {
				t.Errorf("key %q twice or empty", kv.Key)
			}
			seen[kv.Key] = true
		}
		parseHostname(data)
		parseMachineID(data)
	})
}

package verify_test

import (
	"errors"
	"strings"
	"testing"

	"berth/transfer/verify"
)

const (
	hexA = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	hexB = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

func TestListFind(t *testing.T) {
	upper := strings.ToUpper(hexA)
	tests := []struct {
		name, list, file string
		want             string // "" not listed
	}{
		{"binary", hexA + " *foo.raw\n", "foo.raw", hexA},
		{"text", hexA + "  foo.raw\n", "foo.raw", hexA},
		{"one space", hexA + " foo.raw\n", "foo.raw", hexA},
		{"dot slash", hexA + "  ./foo.raw\n", "foo.raw", hexA},
		{"binary dot slash", hexA + " *./foo.raw\n", "foo.raw", hexA},
		{"upper case", upper + "  foo.raw\n", "foo.raw", hexA},
		{"no newline at the end", hexB + "  bar\n" + hexA + "  foo.raw", "foo.raw", hexA},
		{"CRLF", hexA + "  foo.raw\r\n" + hexB + "  bar\r\n", "foo.raw", hexA},
		{"BSD", "SHA256 (foo.raw) = " + hexA + "\n", "foo.raw", hexA},
		{"BSD name with parentheses", "SHA256 (foo (1) = x.raw) = " + hexA + "\n", "foo (1) = x.raw", hexA},
		{"BSD CRLF", "SHA256 (foo.raw) = " + hexA + "\r\n", "foo.raw", hexA},
		{"name with spaces", hexA + "  foo bar.raw\n", "foo bar.raw", hexA},
		{"name beginning with a star", hexA + " **foo\n", "*foo", hexA},
		{"escaped", `\` + hexA + `  a\\b\nc` + "\n", "a\\b\nc", hexA},
		{"escaped BSD", `\SHA256 (a\nb) = ` + hexA + "\n", "a\nb", hexA},
		{"bad escape", `\` + hexA + `  a\q` + "\n", `a\q`, ""},
		{"backslash that is no escape", hexA + `  a\nb` + "\n", `a\nb`, hexA},
		{"digest alone", hexA + "\n", "anything", hexA},
		{"digest alone, no newline", hexA, "anything", hexA},
		{"digest alone, trailing space", hexA + " \n", "anything", hexA},
		{"digest of standard input", hexA + "  -\n", "anything", hexA},
		{"digest alone beside names", hexA + "\n" + hexB + "  bar\n", "foo", ""},
		{"same line twice", hexA + "  foo\n" + hexA + " *foo\n", "foo", hexA},
		{"comments and blank lines", "# " + hexB + "  foo\n\n; x\n" + hexA + "  foo\n", "foo", hexA},
		{"byte order mark", "\ufeff" + hexA + "  foo\n", "foo", hexA},
		{"other algorithms", "SHA512 (foo) = " + hexA + hexA + "\n" + hexB + hexB + "  foo\nMD5 (foo) = 0123\nSHA256 (foo) = " + hexA + "\n", "foo", hexA},
		{"only SHA-512", hexA + hexA + "  foo\n", "foo", ""},
		{"not hex", "x" + hexA[1:] + "  foo\n", "foo", ""},
		{"too short", hexA[1:] + "  foo\n", "foo", ""},
		{"tail of another name", hexA + "  xfoo\n", "foo", ""},
		{"longer name", hexA + "  foo.raw.xz\n", "foo.raw", ""},
		{"in a folder", hexA + "  folder/foo\n", "foo", ""},
		{"not at the start of a line", " " + hexA + "  foo\n", "foo", ""},
		{"other case of the name", hexA + "  Foo\n", "foo", ""},
		{"empty", "", "foo", ""},
		{"web page", "<html><body>not found</body></html>\n", "foo", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list, err := verify.ParseList([]byte(test.list))
			if err != nil {
				t.Fatal(err)
			}
			got, err := list.Find(test.file)
			if test.want == "" {
				if !errors.Is(err, verify.ErrNotListed) {
					t.Errorf("got %s and %v, want ErrNotListed", got, err)
				}
				return
			}
			if err != nil || got.String() != test.want {
				t.Errorf("got %s and %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestListConflicts(t *testing.T) {
	for name, text := range map[string]string{
		"names":   hexA + "  foo\n" + hexB + "  foo\n" + hexA + "  bar\n",
		"forms":   hexA + "  foo\nSHA256 (./foo) = " + hexB + "\n" + hexA + "  bar\n",
		"digests": hexA + "\n" + hexB + "\n",
	} {
		list, err := verify.ParseList([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := list.Find("foo"); !errors.Is(err, verify.ErrMalformed) || errors.Is(err, verify.ErrNotListed) {
			t.Errorf("%s: got %s and %v, want ErrMalformed", name, d, err)
		}
		if _, err := list.Find("bar"); !list.Bare() && err != nil {
			t.Errorf("%s: a conflict over another name counts: %v", name, err)
		}
	}
}

func TestListLimits(t *testing.T) {
	for name, text := range map[string]string{
		"size":    strings.Repeat("#\n", 1<<19+1),
		"line":    hexA + "  " + strings.Repeat("x", 9000) + "\n",
		"digests": strings.Repeat(hexA[:64]+"\n", 16_130),
	} {
		_, err := verify.ParseList([]byte(text))
		if want := name != "digests"; errors.Is(err, verify.ErrMalformed) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestZeroListIsEmpty(t *testing.T) {
	var l verify.List
	if _, err := l.Find("x"); !errors.Is(err, verify.ErrNotListed) {
		t.Errorf("got %v", err)
	}
}

func TestParseDigest(t *testing.T) {
	if d, err := verify.ParseDigest(strings.ToUpper(hexA)); err != nil || d.String() != hexA {
		t.Errorf("got %s, %v", d, err)
	}
	for _, in := range []string{"", hexA[1:], hexA + "0", "g" + hexA[1:]} {
		if _, err := verify.ParseDigest(in); !errors.Is(err, verify.ErrMalformed) {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

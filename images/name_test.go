package images

import (
	"errors"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "A b_c:d", ".hidden", ".host", "#x", "größe", strings.Repeat("x", 255)} {
		if err := ValidName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", ".#x", "a\n", "a\x7f", "\xff", "a\u0085", strings.Repeat("x", 256)} {
		if err := ValidName(name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLastComponent(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com/dir/foo.raw.xz":     "foo.raw.xz",
		"https://example.com/foo.tar?x=/y#z":     "foo.tar",
		"https://example.com/foo.tar/":           "foo.tar",
		"http://example.com/a%20b.tar":           "a%20b.tar",
		"file:///srv/foo.tar":                    "foo.tar",
		"/srv/images/foo.tar":                    "foo.tar",
		"foo.tar":                                "foo.tar",
		"https://example.com":                    "",
		"https://example.com/":                   "",
		"https://example.com?foo/bar":            "",
		"":                                       "",
		"https://user:pw@example.com:80/a/b.img": "b.img",
	} {
		got, err := LastComponent(url)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrNoComponent) {
			t.Errorf("%q: %q, %v; want %q", url, got, err, want)
		}
	}
}

func TestStrippedNames(t *testing.T) {
	for file, want := range map[string]string{
		"foo.tar": "foo", "foo.tar.xz": "foo", "foo.tar.tar.gz": "foo.tar", "foo.tgz": "foo", "foo": "foo", "foo.xz": "foo.xz",
	} {
		if got, err := TarName(file); got != want || err != nil {
			t.Errorf("TarName(%q) = %q, %v; want %q", file, got, err, want)
		}
	}
	for file, want := range map[string]string{
		"foo.raw": "foo", "foo.raw.xz": "foo", "foo.qcow2.img.gz": "foo", "foo.sysext.raw": "foo", "foo.confext.raw.zst": "foo",
		"foo.tar": "foo.tar", "foo.bin": "foo",
	} {
		if got, err := RawName(file); got != want || err != nil {
			t.Errorf("RawName(%q) = %q, %v; want %q", file, got, err, want)
		}
	}
	for _, name := range []func(string) (string, error){TarName, RawName} {
		for _, file := range []string{".tar", "..tar", ".raw", ""} {
			if got, err := name(file); err == nil && got == "" {
				t.Errorf("%q made the empty name", file)
			}
		}
	}
	if _, err := TarName(".tar.xz"); !errors.Is(err, ErrInvalidName) {
		t.Errorf("TarName of a mere suffix: %v", err)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"https://example.com/foo.raw.xz?x#y", "file:///a", "foo_1.2_x86-64+3-1.raw", `.raw-http:\x2f.raw`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if last, err := LastComponent(s); err == nil && (last == "" || strings.Contains(last, "/")) {
			t.Errorf("LastComponent(%q) = %q", s, last)
		}
		if name, err := RawName(s); err == nil && ValidName(name) != nil {
			t.Errorf("RawName(%q) = %q", s, name)
		}
		if back, err := unescapeName(escapeName(s)); err != nil || back != s {
			t.Errorf("unescape(escape(%q)) = %q, %v", s, back, err)
		}
		if strings.ContainsAny(escapeName(s), "/.#\x00") {
			t.Errorf("escapeName(%q) is no file name", s)
		}
		_, _ = unescapeName(s)
		for _, form := range forms(ClassSysext) {
			if name, ok := form.name(ClassSysext, s); ok && form.file(name) != s {
				t.Errorf("%q reads as %q, which is called %q", s, name, form.file(name))
			}
		}
		parseVersionEntry("foo", form{suffix: ".raw"}, s)
	})
}

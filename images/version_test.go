package images

import (
	"slices"
	"testing"
)

// TestCompareVersions has a pair for each rule of the UAPI.10 specification.
func TestCompareVersions(t *testing.T) {
	for _, pair := range [][2]string{
		{"11", "11"}, {"1_", "1"}, {"0_", "0"}, {"1.002", "1.2"}, {"001", "1"}, {"", ""},
	} {
		if c := compareVersions(pair[0], pair[1]); c != 0 {
			t.Errorf("%q and %q compare %d, want 0", pair[0], pair[1], c)
		}
	}
	for _, pair := range [][2]string{
		{"systemd-123", "foobar-123"},
		{"124", "123"},
		{"123.a", "123"},
		{"123.a.2", "123.a.1"},
		{"123", "123~rc1"},
		{"123^post1", "123"},
		{"123.1", "123-1"},
		{"123-1", "123"},
		{"123^1", "123-1"},
		{"1.10", "1.9"},
		{"2", "1.9"},
		{"100000000000000000001", "100000000000000000000"},
		{"a1", "a"},
		{"b", "a"},
		{"1", "a"},
	} {
		if a, b := compareVersions(pair[0], pair[1]), compareVersions(pair[1], pair[0]); a != 1 || b != -1 {
			t.Errorf("%q against %q: %d and %d, want 1 and -1", pair[0], pair[1], a, b)
		}
	}
}

func TestSortVersions(t *testing.T) {
	files := []string{
		"foo_1.raw", "foo_10+0-3.raw", "foo_9.raw", "foo_9_x86-64.raw", "foo_9+2-1.raw", "foo_9+3.raw",
		"foo_11_s390x.raw", "bar_99.raw", "foo.raw", "foo_.raw", "foo_12.txt", "foo_2.1_x86-64+1.raw",
	}
	var got []string
	for _, v := range sortVersions("foo", form{suffix: suffixRaw}, files) {
		got = append(got, v.file)
	}
	want := []string{"foo_9_x86-64.raw", "foo_9.raw", "foo_9+3.raw", "foo_9+2-1.raw", "foo_2.1_x86-64+1.raw", "foo_1.raw", "foo_10+0-3.raw"}
	if architectures()[0] != "x86-64" {
		t.Skip("the table is for x86-64")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1.2~rc1", "1.2^x-3")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 1000 {
			return
		}
		if compareVersions(a, b) != -compareVersions(b, a) {
			t.Errorf("%q and %q: not antisymmetric", a, b)
		}
		if compareVersions(a, a) != 0 {
			t.Errorf("%q differs from itself", a)
		}
	})
}

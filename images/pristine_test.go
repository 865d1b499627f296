package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSiphash has two vectors of the paper's reference implementation.
func TestSiphash(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	data := make([]byte, 15)
	for i := range data {
		data[i] = byte(i)
	}
	if got := siphash(key, data); got != 0xa129ca6149be45e5 {
		t.Errorf("15 bytes: %#x", got)
	}
	if got := siphash(key, nil); got != 0x726fdb47dd0e0e31 {
		t.Errorf("no bytes: %#x", got)
	}
}

func TestPristineNames(t *testing.T) {
	p := Pristine{Root: "/var/lib/machines", Kind: KindTar, URL: "https://example.com/f.tar.xz"}
	for etag, want := range map[string]string{
		`"abc"`:   `.tar-https:\x2f\x2fexample\x2ecom\x2ff\x2etar\x2exz.\x22abc\x22`,
		`W/"a.b"`: `.tar-https:\x2f\x2fexample\x2ecom\x2ff\x2etar\x2exz.W\x2f\x22a\x2eb\x22`,
		"":        `.tar-https:\x2f\x2fexample\x2ecom\x2ff\x2etar\x2exz`,
	} {
		if got := p.FileName(etag); got != want {
			t.Errorf("%s: %s, want %s", etag, got, want)
		}
		if got, ok := p.etagOf(want); !ok || got != etag {
			t.Errorf("%s reads as %q, %v", want, got, ok)
		}
	}
	p.Kind = KindRaw
	if got := p.AuxName(`"x"`, ".roothash.p7s"); !strings.HasSuffix(got, `.\x22x\x22.roothash.p7s`) {
		t.Error(got)
	}
}

// TestPristineFind has names with the URL, with its hash, and those of others.
func TestPristineFind(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1/a.raw", "http://127.0.0.1/" + strings.Repeat("long/", 60) + "a.raw"} {
		for _, kind := range []Kind{KindTar, KindRaw} {
			p := Pristine{Root: t.TempDir(), Kind: kind, URL: url}
			etags := []string{"", `"1"`, `W/"2"`, `"` + strings.Repeat("e", 120) + `"`}
			var want []string
			for _, etag := range etags {
				name := p.FileName(etag)
				if len(name) > maxName {
					t.Fatalf("name of %d bytes", len(name))
				}
				makeKind(t, p, name)
				want = append(want, name)
			}
			other := Pristine{Root: p.Root, Kind: kind, URL: url + "2"}
			makeKind(t, p, other.FileName(`"1"`))
			makeKind(t, p, p.prefix()+p.hash()+".noetag")
			slices.Sort(want)
			found, err := p.Find()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.Name)
				if !slices.Contains(etags, f.ETag) || p.FileName(f.ETag) != f.Name {
					t.Errorf("ETag %q of %s", f.ETag, f.Name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("found %q\nwant %q", got, want)
			}
		}
	}
	p := Pristine{Root: "/x", Kind: KindTar, URL: "http://x"}
	if got := p.FileName(`"` + strings.Repeat("e", 300) + `"`); got != p.FileName("") {
		t.Errorf("an ETag that fits no name: %s", got)
	}
	if found, err := (Pristine{Root: "/nonexistent/x", Kind: KindTar}).Find(); found != nil || err != nil {
		t.Errorf("no root: %v, %v", found, err)
	}
}

// TestPristineHashCollision has a file under the right hash from another URL.
func TestPristineHashCollision(t *testing.T) {
	p := Pristine{Root: t.TempDir(), Kind: KindRaw, URL: "http://x/" + strings.Repeat("a", 300)}
	name := p.FileName(`"1"`)
	makeKind(t, p, name)
	if err := unix.Setxattr(filepath.Join(p.Root, name), xattrSourceURL, []byte("http://elsewhere"), 0); err != nil {
		t.Skipf("no user attributes in %s: %v", p.Root, err)
	}
	if found, err := p.Find(); len(found) > 0 || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
}

func makeKind(t *testing.T, p Pristine, name string) {
	t.Helper()
	path := filepath.Join(p.Root, name)
	var err error
	if p.Kind == KindTar {
		err = os.Mkdir(path, 0o755)
	} else {
		err = os.WriteFile(path, nil, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

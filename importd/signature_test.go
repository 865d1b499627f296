package importd_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
	"berth/fixtures/keys"
	"berth/importd"
	"berth/transfer/verify"
)

func TestPullSigned(t *testing.T) {
	key, stranger := keys.New(t, "trusted"), keys.New(t, "stranger")
	keyring := filepath.Join(t.TempDir(), "keyring.pgp")
	if err := os.WriteFile(keyring, key.Export(t), 0o644); err != nil {
		t.Fatal(err)
	}
	archive := tree(t)
	list := fmt.Appendf(nil, "%x *foo.tar\n", sha256.Sum256(archive))
	for _, test := range []struct {
		name      string
		list      []byte
		signature []byte
		want      string // in the error; empty for success
	}{
		{"good", list, key.Sign(t, list, keys.SignOptions{}), ""},
		{"armored", list, key.Sign(t, list, keys.SignOptions{Armor: true}), ""},
		{"other content", append([]byte("# \n"), list...), key.Sign(t, list, keys.SignOptions{}), "signature"},
		{"unknown key", list, stranger.Sign(t, list, keys.SignOptions{}), "key"},
		{"garbage", list, []byte("no signature"), "signature"},
		{"empty", list, []byte{}, "signature"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(verify.KeyringVariable, keyring)
			h := newHost(t)
			server := faultserver.Start(t)
			server.Set("/foo.tar", faultserver.Answer{Body: archive})
			server.Set("/SHA256SUMS", faultserver.Answer{Body: test.list})
			server.Set("/SHA256SUMS.gpg", faultserver.Answer{Body: test.signature})
			r := pullTar(server.URL("/foo.tar"))
			r.Verify = importd.VerifySignature
			err := h.do(r)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			h.mustBeEmpty()
		})
	}
}

// The checksums of a good signature must not vouch for another file.
func TestPullTamperedImage(t *testing.T) {
	key := keys.New(t, "trusted")
	keyring := filepath.Join(t.TempDir(), "keyring.pgp")
	if err := os.WriteFile(keyring, key.Export(t), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(verify.KeyringVariable, keyring)
	h := newHost(t)
	server := faultserver.Start(t)
	archive := tree(t)
	list := fmt.Appendf(nil, "%x  foo.tar\n", sha256.Sum256(archive))
	archive[600] ^= 1
	server.Set("/foo.tar", faultserver.Answer{Body: archive})
	server.Set("/SHA256SUMS", faultserver.Answer{Body: list})
	server.Set("/SHA256SUMS.asc", faultserver.Answer{Body: key.Sign(t, list, keys.SignOptions{Armor: true})})
	r := pullTar(server.URL("/foo.tar"))
	r.Verify = importd.VerifySignature
	err := h.do(r)
	if err == nil || errors.Is(err, syscall.EEXIST) {
		t.Errorf("tampered image: %v", err)
	}
	if got := h.entries(); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
}

// TestPullFindsEvidence: a list beside the image or that of its directory, with a
// signature of its own, in either form. The download may be a list itself.
func TestPullFindsEvidence(t *testing.T) {
	key := keys.New(t, "trusted")
	keyring := filepath.Join(t.TempDir(), "keyring.pgp")
	keys.WriteKeyring(t, keyring, key)
	t.Setenv(verify.KeyringVariable, keyring)
	image := []byte("a disk or so")
	list := fmt.Appendf(nil, "%x  d.img\n", sha256.Sum256(image))
	binary, armored := key.Sign(t, list, keys.SignOptions{}), key.Sign(t, list, keys.SignOptions{Armor: true})
	other := fmt.Appendf(nil, "%x  d.img\n", sha256.Sum256(nil))
	for name, test := range map[string]struct {
		remote string
		files  map[string][]byte
		errno  syscall.Errno // 0: it is proved
	}{
		"own list":                 {"d.img", map[string][]byte{"d.img.sha256": list, "d.img.sha256.gpg": binary}, 0},
		"own list, armored":        {"d.img", map[string][]byte{"d.img.sha256": list, "d.img.sha256.asc": armored}, 0},
		"common list":              {"d.img", map[string][]byte{"SHA256SUMS": list, "SHA256SUMS.gpg": binary}, 0},
		"common list, armored":     {"d.img", map[string][]byte{"SHA256SUMS": list, "SHA256SUMS.asc": armored}, 0},
		"only the other is signed": {"d.img", map[string][]byte{"d.img.sha256": other, "SHA256SUMS": list, "SHA256SUMS.gpg": binary}, 0},
		"a list as the image":      {"d.img.sha256", map[string][]byte{"d.img.sha256": list, "d.img.sha256.gpg": binary}, 0},
		"such a list, armored":     {"d.img.sha256", map[string][]byte{"d.img.sha256": list, "d.img.sha256.asc": armored}, 0},
		"the common list":          {"SHA256SUMS", map[string][]byte{"SHA256SUMS": list, "SHA256SUMS.asc": armored}, 0},
		"a signature as the image": {"d.img.sha256.gpg", map[string][]byte{"d.img.sha256.gpg": binary}, syscall.ELOOP},
	} {
		t.Run(name, func(t *testing.T) {
			h, server := newHost(t), faultserver.Start(t)
			server.Set("/d.img", faultserver.Answer{Body: image})
			for file, content := range test.files {
				server.Set("/"+file, faultserver.Answer{Body: content})
			}
			err := h.do(importd.Request{Kind: importd.PullRaw, Remote: server.URL("/" + test.remote), Local: "got", Verify: importd.VerifySignature})
			if test.errno != 0 {
				if !errors.Is(err, test.errno) {
					t.Errorf("%v, want %v", err, test.errno)
				}
				h.mustBeEmpty()
				return
			}
			want := image
			if test.remote != "d.img" {
				want = list
			}
			if err != nil || h.read("got.raw") != string(want) {
				t.Errorf("another image, %v", err)
			}
		})
	}
}

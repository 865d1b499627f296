package verify_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/keys"
	"berth/transfer/verify"
)

// FuzzParseList holds that whatever is found stands in the list, in hex.
func FuzzParseList(f *testing.F) {
	for _, seed := range []string{
		"", hexA, hexA + "  foo\n", hexA + " *foo\r\n", "SHA256 (foo) = " + hexA, `\` + hexA + `  fo\\o`, hexA + "  -\n",
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + hexA + "  foo\n-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0=\n=AAAA\n-----END PGP SIGNATURE-----\n",
	} {
		f.Add([]byte(seed), "foo")
	}
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		list, err := verify.ParseList(text)
		if err != nil {
			return
		}
		if d, err := list.Find(name); err == nil && !strings.Contains(strings.ToLower(string(text)), d.String()) {
			t.Errorf("found %s for %q, which is not in the list", d, name)
		}
	})
}

// FuzzCheck holds that a changed signature is good only if the signed text is
// what was signed.
func FuzzCheck(f *testing.F) {
	k := keys.Make(f, "Maker", keys.Options{Subkey: true})
	keyring := ring(f, k)
	for _, o := range []keys.SignOptions{{}, {Armor: true}, {KeyBlock: true}, {Text: true}, {Digest: "SHA1"}} {
		f.Add(text, k.Sign(f, text, o))
	}
	f.Add(text, k.Clearsign(f, text))
	f.Fuzz(func(t *testing.T, signed, signature []byte) {
		if signer, err := keyring.Check(signed, signature); err == nil {
			same := strings.ReplaceAll(string(signed), "\r\n", "\n") == strings.ReplaceAll(string(text), "\r\n", "\n")
			if !same || signer.Fingerprint != k.Fingerprint {
				t.Errorf("a good signature by %v of %q", signer, signed)
			}
		}
		if content, _, err := keyring.CheckClearsigned(signature); err == nil && len(content) > len(text) {
			t.Errorf("a good signature of %q", content)
		}
	})
}

// FuzzLoadKeyring looks for keyring files that crash the reader.
func FuzzLoadKeyring(f *testing.F) {
	k := keys.Make(f, "Maker", keys.Options{Subkey: true})
	box := filepath.Join(f.TempDir(), "box")
	keys.WriteKeybox(f, box, k)
	boxed, err := os.ReadFile(box)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(boxed)
	f.Add(k.Export(f))
	f.Add(k.ExportArmored(f))
	path := filepath.Join(f.TempDir(), "ring")
	signature := k.Sign(f, text, keys.SignOptions{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if keyring, err := verify.LoadKeyring(path); err == nil {
			_, _ = keyring.Check(text, signature)
		}
	})
}

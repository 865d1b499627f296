package verify_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// stored returns a file of testdata. Keys made anew would differ between the
// processes of a fuzzing run; nobody has the secret ones of these any more.
func stored(f *testing.F, name string) []byte {
	f.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// FuzzCheck holds that a changed signature is good only if the signed text is
// what was signed.
func FuzzCheck(f *testing.F) {
	original := stored(f, "fuzz.text")
	keyring := load(f, filepath.Join("testdata", "fuzz.keyring"))
	for _, name := range []string{"fuzz.sig", "fuzz.sig.asc", "fuzz.sig.keyblock", "fuzz.sig.text"} {
		signature := stored(f, name)
		if _, err := keyring.Check(original, signature); err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		f.Add(original, signature)
	}
	f.Add(original, stored(f, "fuzz.clearsigned"))
	f.Fuzz(func(t *testing.T, signed, signature []byte) {
		if signer, err := keyring.Check(signed, signature); err == nil && lines(signed) != lines(original) {
			t.Errorf("a good signature by %v of %q", signer, signed)
		}
		content, signer, err := keyring.CheckClearsigned(signature)
		if err == nil && strings.TrimRight(lines(content), "\n") != strings.TrimRight(lines(original), "\n") {
			t.Errorf("a good signature by %v around %q", signer, content)
		}
	})
}

// lines makes texts comparable that differ in their line ends, which a text
// signature does not cover.
func lines(text []byte) string { return strings.ReplaceAll(string(text), "\r\n", "\n") }

// FuzzLoadKeyring looks for keyring files that crash the reader.
func FuzzLoadKeyring(f *testing.F) {
	for _, name := range []string{"fuzz.keyring", "fuzz.keyring.asc", "fuzz.keybox"} {
		f.Add(stored(f, name))
	}
	original, signature := stored(f, "fuzz.text"), stored(f, "fuzz.sig")
	path := filepath.Join(f.TempDir(), "ring")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if keyring, err := verify.LoadKeyring(path); err == nil {
			_, _ = keyring.Check(original, signature)
		}
	})
}

package verify_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/fixtures/keys"
	"berth/transfer/verify"
)

var text = []byte(hexA + "  foo.raw.xz\n" + hexB + " *bar.tar.gz\r\n")

// ring loads a keyring file of the keys.
func ring(t testing.TB, all ...*keys.Key) *verify.Keyring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ring.pgp")
	keys.WriteKeyring(t, path, all...)
	return load(t, path)
}

func load(t testing.TB, paths ...string) *verify.Keyring {
	t.Helper()
	k, err := verify.LoadKeyring(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckAcceptsKindsOfKeysAndSignatures(t *testing.T) {
	for _, options := range []keys.Options{
		{},
		{Algorithm: "rsa2048"},
		{Algorithm: "nistp256"},
		{Subkey: true},
	} {
		k := keys.Make(t, "Maker", options)
		keyring := ring(t, keys.New(t, "Other"), k)
		for _, sign := range []keys.SignOptions{
			{},
			{Armor: true},
			{Text: true},
			{Text: true, Armor: true},
			{Digest: "SHA512"},
			{Digest: "SHA384", Armor: true},
			{KeyBlock: true},
			{Lifetime: time.Hour},
		} {
			signer, err := keyring.Check(text, k.Sign(t, text, sign))
			if err != nil {
				t.Errorf("%+v %+v: %v", options, sign, err)
				continue
			}
			if signer.Fingerprint != k.Fingerprint || signer.Identity != k.ID || time.Since(signer.Made) > time.Hour {
				t.Errorf("%+v: got signer %+v", options, signer)
			}
			if !strings.Contains(signer.String(), k.ID) {
				t.Errorf("the signer prints as %s", signer)
			}
		}
	}
}

func TestCheckOfTextIgnoresLineEnds(t *testing.T) {
	k := keys.New(t, "Maker")
	signature := k.Sign(t, []byte("a\nb\n"), keys.SignOptions{Text: true})
	if _, err := ring(t, k).Check([]byte("a\r\nb\r\n"), signature); err != nil {
		t.Error(err)
	}
}

func TestCheckRefuses(t *testing.T) {
	long := time.Now().AddDate(-3, 0, 0)
	k := keys.New(t, "Maker")
	stranger := keys.New(t, "Stranger")
	good := k.Sign(t, text, keys.SignOptions{})
	armored := k.Sign(t, text, keys.SignOptions{Armor: true})
	expired := keys.Make(t, "Expired", keys.Options{Created: long, Lifetime: 48 * time.Hour})
	old := keys.Make(t, "Old", keys.Options{Created: long})
	keyring := ring(t, k, expired, old)
	for name, test := range map[string]struct {
		signed, signature []byte
		want              error
		says              string
	}{
		"changed data": {append([]byte("x"), text...), good, verify.ErrBadSignature, k.Fingerprint},
		"less data":    {text[:len(text)-1], good, verify.ErrBadSignature, "not a signature of this data"},
		"unknown key":  {text, stranger.Sign(t, text, keys.SignOptions{}), verify.ErrUnknownKey, stranger.Fingerprint},
		"unknown key, its own key block": {
			text, stranger.Sign(t, text, keys.SignOptions{KeyBlock: true}), verify.ErrUnknownKey, keys.ShortID(stranger.Fingerprint),
		},
		"nothing":             {text, nil, verify.ErrNoSignature, ""},
		"white space":         {text, []byte(" \r\n"), verify.ErrNoSignature, ""},
		"web page":            {text, []byte("<html>not found</html>"), verify.ErrMalformed, ""},
		"cut":                 {text, good[:len(good)/2], verify.ErrMalformed, ""},
		"cut armor":           {text, armored[:len(armored)/2], verify.ErrMalformed, ""},
		"key for a signature": {text, k.Export(t), verify.ErrBadSignature, "not of data"},
		"armored key":         {text, k.ExportArmored(t), verify.ErrMalformed, "PGP SIGNATURE"},
		"too big":             {text, make([]byte, 1<<20+1), verify.ErrMalformed, ""},
		"SHA-1":               {text, k.Sign(t, text, keys.SignOptions{Digest: "SHA1"}), verify.ErrBadSignature, "forged"},
		"expired signature": {
			text, old.Sign(t, text, keys.SignOptions{At: long.Add(time.Hour), Lifetime: time.Hour}), verify.ErrBadSignature, "expired",
		},
		"from the future": {
			text, k.Sign(t, text, keys.SignOptions{At: time.Now().AddDate(1, 0, 0)}), verify.ErrBadSignature, "clock",
		},
		"from a file of clearsigned text": {text, k.Clearsign(t, text), verify.ErrMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keyring.Check(test.signed, test.signature)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v that says %q", err, test.want, test.says)
			}
		})
	}
}

func TestCheckTakesOneGoodSignatureOfSeveral(t *testing.T) {
	a, b, c := keys.New(t, "A"), keys.New(t, "B"), keys.New(t, "C")
	bad := b.Sign(t, []byte("something else"), keys.SignOptions{})
	unknown := c.Sign(t, text, keys.SignOptions{})
	good := a.Sign(t, text, keys.SignOptions{})
	keyring := ring(t, a, b)
	for name, signature := range map[string][]byte{
		"last":    slices.Concat(unknown, bad, good),
		"first":   slices.Concat(good, bad, unknown),
		"armored": slices.Concat(c.Sign(t, text, keys.SignOptions{Armor: true}), a.Sign(t, text, keys.SignOptions{Armor: true})),
	} {
		if signer, err := keyring.Check(text, signature); err != nil || signer.Fingerprint != a.Fingerprint {
			t.Errorf("%s: got %v and %v", name, signer, err)
		}
	}
	if _, err := keyring.Check(text, slices.Concat(unknown, bad)); !errors.Is(err, verify.ErrBadSignature) {
		t.Errorf("unknown and bad: got %v", err)
	}
}

func TestCheckFindsEveryChangedByte(t *testing.T) {
	k := keys.New(t, "Maker")
	keyring := ring(t, k)
	good := k.Sign(t, text, keys.SignOptions{})
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		if _, err := keyring.Check(changed, good); !errors.Is(err, verify.ErrBadSignature) {
			t.Errorf("byte %d of the data changed: got %v", i, err)
		}
	}
}

func TestCheckClearsigned(t *testing.T) {
	k, stranger := keys.New(t, "Maker"), keys.New(t, "Stranger")
	content := "# from Fedora\nSHA256 (foo) = " + hexA + "\n- dash\n"
	signed := k.Clearsign(t, []byte(content))
	around := slices.Concat([]byte(hexB+"  before\n"), signed, []byte(hexB+"  after\n"))
	keyring := ring(t, k)
	for name, in := range map[string][]byte{"alone": signed, "with text around": around} {
		got, signer, err := keyring.CheckClearsigned(in)
		if err != nil || signer.Fingerprint != k.Fingerprint || strings.TrimRight(string(got), "\n") != strings.TrimRight(content, "\n") {
			t.Errorf("%s: got %q by %v, %v", name, got, signer, err)
		}
		list, err := verify.ParseList(in)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := list.Find("foo"); err != nil || d.String() != hexA {
			t.Errorf("%s: got %s, %v", name, d, err)
		}
		for _, outside := range []string{"before", "after"} {
			if _, err := list.Find(outside); !errors.Is(err, verify.ErrNotListed) {
				t.Errorf("%s: a line outside of the signature counts: %v", name, err)
			}
		}
	}
	tampered := bytes.Replace(signed, []byte(hexA), []byte(hexB), 1)
	if _, _, err := keyring.CheckClearsigned(tampered); !errors.Is(err, verify.ErrBadSignature) {
		t.Errorf("tampered: got %v", err)
	}
	if _, _, err := keyring.CheckClearsigned(stranger.Clearsign(t, []byte(content))); !errors.Is(err, verify.ErrUnknownKey) {
		t.Errorf("stranger: got %v", err)
	}
	if _, _, err := keyring.CheckClearsigned([]byte(content)); !errors.Is(err, verify.ErrNoSignature) {
		t.Errorf("unsigned: got %v", err)
	}
	if _, err := verify.ParseList(signed[:len(signed)-60]); !errors.Is(err, verify.ErrMalformed) {
		t.Errorf("cut: got %v", err)
	}
}

package verify_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/fixtures/keys"
	"berth/transfer/verify"
)

const day = 24 * time.Hour

// signedBy checks a signature of text and compares with what must come out:
// says is "" for good, else part of what a bad one says.
func signedBy(t *testing.T, keyring *verify.Keyring, signature []byte, says string) {
	t.Helper()
	_, err := keyring.Check(text, signature)
	if says == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, verify.ErrBadSignature) || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want a bad signature that says %q", err, says)
	}
}

func TestCheckOfExpiredKey(t *testing.T) {
	start := time.Now().AddDate(-3, 0, 0)
	k := keys.Make(t, "Expired", keys.Options{Created: start, Lifetime: 10 * day})
	during := k.Sign(t, text, keys.SignOptions{At: start.Add(day)})
	signedBy(t, ring(t, k), during, "")

	path := filepath.Join(t.TempDir(), "ring")
	keys.WriteKeyring(t, path, k)
	if err := keys.Verify(t, path, text, during); err != nil {
		t.Errorf("gpg thinks otherwise: %v", err)
	}

	k.Expire(t, start.Add(2*day), 20*365*day)
	late := k.Sign(t, text, keys.SignOptions{At: start.Add(100 * day)})
	prolonged := ring(t, k)
	signedBy(t, prolonged, late, "")
	signedBy(t, prolonged, during, "")
	signedBy(t, load(t, path), late, "expired")
	signedBy(t, load(t, path), during, "")
}

// Without its old self-signatures a prolonged key seems younger than what it
// signed.
func TestCheckOfKeyExportedMinimally(t *testing.T) {
	start := time.Now().AddDate(-3, 0, 0)
	for _, subkey := range []bool{false, true} {
		k := keys.Make(t, "Prolonged", keys.Options{Created: start, Lifetime: 10 * day, Subkey: subkey})
		signature := k.Sign(t, text, keys.SignOptions{At: start.Add(day)})
		k.Expire(t, time.Time{}, 4*365*day)
		path := write(t, k.Export(t, "--export-options", "export-minimal"))
		signedBy(t, load(t, path), signature, "")
	}
}

func TestCheckOfRevokedKey(t *testing.T) {
	start := time.Now().AddDate(-3, 0, 0)
	for _, test := range []struct {
		name          string
		why           keys.Reason
		subkey        bool
		before, after string
	}{
		{"compromised", keys.Compromised, false, "revoked", "revoked"},
		{"no reason", keys.NoReason, false, "revoked", "revoked"},
		{"superseded", keys.Superseded, false, "", "revoked"},
		{"compromised subkey", keys.Compromised, true, "revoked", "revoked"},
		{"superseded subkey", keys.Superseded, true, "", "revoked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := keys.Make(t, "Revoked", keys.Options{Created: start, Subkey: test.subkey})
			untouched := ring(t, k)
			before := k.Sign(t, text, keys.SignOptions{At: start.Add(day)})
			after := k.Sign(t, text, keys.SignOptions{At: start.Add(3 * day)})
			if test.subkey {
				k.RevokeSubkey(t, start.Add(2*day), test.why)
			} else {
				k.Revoke(t, start.Add(2*day), test.why)
			}
			signedBy(t, untouched, before, "")
			signedBy(t, untouched, after, "")
			revoked := ring(t, k)
			signedBy(t, revoked, before, test.before)
			signedBy(t, revoked, after, test.after)
		})
	}
}

// The vendor's copy of a key must not hide that the administrator's is revoked.
func TestRevocationInAnyKeyringCounts(t *testing.T) {
	k := keys.New(t, "Revoked")
	signature := k.Sign(t, text, keys.SignOptions{})
	vendor := write(t, k.Export(t))
	k.Revoke(t, time.Time{}, keys.Compromised)
	own := write(t, k.Export(t))
	signedBy(t, load(t, vendor), signature, "")
	signedBy(t, load(t, vendor, own), signature, "revoked")
	signedBy(t, load(t, own, vendor), signature, "revoked")
}

// A new subkey that the keyring does not know yet comes with the signature.
func TestCheckTakesSubkeyOfKnownKeyFromSignature(t *testing.T) {
	k := keys.New(t, "Maker")
	old := write(t, k.Export(t))
	k.AddSubkey(t, time.Time{})
	with := k.Sign(t, text, keys.SignOptions{KeyBlock: true})
	without := k.Sign(t, text, keys.SignOptions{})
	if _, err := load(t, old).Check(text, without); !errors.Is(err, verify.ErrUnknownKey) {
		t.Errorf("new subkey, no key block: got %v", err)
	}
	signer, err := load(t, old).Check(text, with)
	if err != nil || signer.Fingerprint != k.Fingerprint {
		t.Errorf("new subkey in a key block: got %v, %v", signer, err)
	}
	keyring := load(t, old)
	if _, err := keyring.Check(text, with); err != nil {
		t.Error(err)
	}
	if _, err := keyring.Check(text, without); !errors.Is(err, verify.ErrUnknownKey) {
		t.Errorf("the key block of one check is there in the next: %v", err)
	}
}

// A key that only certifies does not sign, whatever it says.
func TestCheckRefusesKeyThatIsNotForSigning(t *testing.T) {
	k := keys.Make(t, "Certifier", keys.Options{Subkey: true})
	if got := k.Subkeys(t); len(got) != 1 {
		t.Fatalf("got subkeys %v", got)
	}
	signedBy(t, ring(t, k), k.Sign(t, text, keys.SignOptions{}), "")
	if _, err := ring(t, keys.New(t, "Other")).Check(text, k.Sign(t, text, keys.SignOptions{})); !errors.Is(err, verify.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}

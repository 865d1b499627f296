package verify_test

import (
	"bytes"
	"crypto"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// gpg does not make these: signatures by keys that must not make any.

// entity makes a key with a signing subkey, a day old.
func entity(t *testing.T) (*openpgp.Entity, *packet.Config) {
	t.Helper()
	made := time.Now().Add(-day)
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }}
	e, err := openpgp.NewEntity("Maker", "", "maker@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddSigningSubkey(config); err != nil {
		t.Fatal(err)
	}
	return e, config
}

// signAs signs text with a secret key, at a time.
func signAs(t *testing.T, secret *packet.PrivateKey, at time.Time) []byte {
	t.Helper()
	s := &packet.Signature{
		Version: secret.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: secret.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: at, IssuerKeyId: &secret.KeyId, IssuerFingerprint: secret.Fingerprint,
	}
	h := crypto.SHA256.New()
	_, _ = h.Write(text)
	if err := s.Sign(h, secret, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func export(t *testing.T, e *openpgp.Entity) string {
	t.Helper()
	var out bytes.Buffer
	if err := e.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return write(t, out.Bytes())
}

func TestCheckHeedsUseOfPrimaryKey(t *testing.T) {
	e, config := entity(t)
	signature := signAs(t, e.PrivateKey, time.Now())
	certify := func(change func(*packet.Signature)) {
		for _, identity := range e.Identities {
			self := identity.SelfCertifications[0].Packet
			change(self)
			if err := self.SignUserId(identity.Name, e.PrimaryKey, e.PrivateKey, config); err != nil {
				t.Fatal(err)
			}
		}
	}
	certify(func(s *packet.Signature) { s.FlagsValid, s.FlagSign, s.FlagCertify = true, true, true })
	signedBy(t, load(t, export(t, e)), signature, "")
	signedBy(t, load(t, export(t, e)), signAs(t, e.PrivateKey, time.Now().Add(-3*day)), "older than its key")
	certify(func(s *packet.Signature) { s.FlagSign = false })
	signedBy(t, load(t, export(t, e)), signature, "not one for signing")
}

// A subkey that has not agreed to belong to its primary key may be that of
// somebody else.
func TestCheckHeedsUseAndConsentOfSubkey(t *testing.T) {
	e, config := entity(t)
	sub := &e.Subkeys[len(e.Subkeys)-1]
	signature := signAs(t, sub.PrivateKey, time.Now())
	signedBy(t, load(t, export(t, e)), signature, "")

	other, _ := entity(t)
	binding := sub.Bindings[0].Packet
	binding.EmbeddedSignature, binding.FlagSign = nil, false
	if err := binding.SignKey(sub.PublicKey, e.PrivateKey, config); err != nil {
		t.Fatal(err)
	}
	signedBy(t, load(t, export(t, e)), signature, "not one for signing")

	// Bound by a key other than the primary key that it comes with.
	if err := binding.SignKey(sub.PublicKey, other.PrivateKey, config); err != nil {
		t.Fatal(err)
	}
	signedBy(t, load(t, export(t, e)), signature, "not bound")
}

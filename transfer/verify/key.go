package verify

import (
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

var (
	errRevoked    = errors.New("the key is revoked")
	errNotSigning = errors.New("the key is not one for signing")
)

// anyTime asks the library for the newest self-signature. The library's own
// choice, the newest that is older than the data signature, finds none once a key
// was prolonged and exported without its old self-signatures.
var anyTime = time.Time{}

// checkKey says why a key could not sign at made, nil if it could.
func checkKey(key openpgp.Key, made time.Time) error {
	e := key.Entity
	self, err := e.PrimarySelfSignature(anyTime, nil)
	if err != nil {
		return fmt.Errorf("the key has no valid self-signature: %w", err)
	}
	if e.Revoked(made) {
		return errRevoked
	}
	if err := checkLifetime(e.PrimaryKey, self, made); err != nil {
		return err
	}
	if direct, err := e.LatestValidDirectSignature(anyTime, nil); err == nil {
		if err := checkLifetime(e.PrimaryKey, direct, made); err != nil {
			return err
		}
	}
	if key.IsPrimary() {
		if self.FlagsValid && !self.FlagSign {
			return errNotSigning
		}
		return nil
	}
	for _, sub := range e.Subkeys {
		if sub.PublicKey == key.PublicKey {
			return checkSubkey(sub, made)
		}
	}
	return errNotSigning
}

// checkSubkey wants a binding that makes the subkey one for signing: only such a
// one is verified together with the subkey's consent, without which a key could
// claim the signatures of another.
func checkSubkey(sub openpgp.Subkey, made time.Time) error {
	binding, err := sub.LatestValidBindingSignature(anyTime, nil)
	if err != nil {
		return fmt.Errorf("the subkey is not bound to its primary key: %w", err)
	}
	if sub.Revoked(binding, made) {
		return errRevoked
	}
	if !binding.FlagSign || binding.EmbeddedSignature == nil {
		return errNotSigning
	}
	return checkLifetime(sub.PublicKey, binding, made)
}

func checkLifetime(key *packet.PublicKey, self *packet.Signature, made time.Time) error {
	if key.KeyExpired(self, made) || lapsed(self, made) {
		return errors.New("the key had expired when the signature was made")
	}
	return nil
}

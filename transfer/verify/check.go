package verify

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// clockSlack is how far in the future a signature may be made: clocks of hosts
// are wrong, above all before they have a network.
const clockSlack = 24 * time.Hour

// Signer is who made a good signature.
type Signer struct {
	// Identity is a user ID of the key, "Name <name@example.org>".
	Identity string
	// Fingerprint is that of the primary key, in upper-case hex.
	Fingerprint string
	// Made is when the signature was made, according to itself.
	Made time.Time
}

// String returns identity and fingerprint.
func (s Signer) String() string { return fmt.Sprintf("%q (%s)", s.Identity, s.Fingerprint) }

// Check verifies a detached signature, binary or in armor, of one or more
// signature packets, over signed. It returns the signer of the first that is
// good. Otherwise the error is ErrNoSignature for an empty one, ErrMalformed,
// ErrBadSignature if a key of the keyring has made one that does not hold, else
// ErrUnknownKey.
func (k *Keyring) Check(signed, signature []byte) (Signer, error) {
	signatures, err := parseSignatures(signature)
	if err != nil {
		return Signer{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var bad, unknown []error
	for _, s := range signatures {
		signer, err := k.checkOne(signed, s)
		switch {
		case err == nil:
			return signer, nil
		case errors.Is(err, ErrUnknownKey):
			unknown = append(unknown, err)
		default:
			bad = append(bad, err)
		}
	}
	if bad != nil {
		return Signer{}, errors.Join(bad...)
	}
	return Signer{}, errors.Join(unknown...)
}

// CheckClearsigned verifies a text with its signature around it and returns what
// is signed, which is all of it that may be used, as [ParseList] does. Text
// without such a signature gives ErrNoSignature.
func (k *Keyring) CheckClearsigned(text []byte) (content []byte, _ Signer, err error) {
	if len(text) > maxList {
		return nil, Signer{}, fmt.Errorf("clearsigned text of %d bytes: %w: more than %d", len(text), ErrMalformed, maxList)
	}
	if !isClearsigned(text) {
		return nil, Signer{}, ErrNoSignature
	}
	block, _ := clearsign.Decode(text)
	if block == nil {
		return nil, Signer{}, fmt.Errorf("clearsigned text: %w", ErrMalformed)
	}
	var sig bytes.Buffer
	if _, err := sig.ReadFrom(block.ArmoredSignature.Body); err != nil {
		return nil, Signer{}, fmt.Errorf("clearsigned text: %w: %w", ErrMalformed, err)
	}
	signer, err := k.Check(block.Bytes, sig.Bytes())
	if err != nil {
		return nil, Signer{}, err
	}
	return block.Plaintext, signer, nil
}

func (k *Keyring) checkOne(signed []byte, s signature) (Signer, error) {
	if s.IssuerKeyId == nil {
		return Signer{}, fmt.Errorf("%w: the signature names no key", ErrUnknownKey)
	}
	var reasons []error
	for _, key := range k.candidates(s) {
		err := checkWith(key, signed, s.Signature)
		if err == nil {
			return signerOf(key.Entity, s.Signature), nil
		}
		reasons = append(reasons, fmt.Errorf("%w by key %X: %w", ErrBadSignature, key.PublicKey.Fingerprint, err))
	}
	if reasons == nil {
		return Signer{}, fmt.Errorf("%w: %s", ErrUnknownKey, issuer(s.Signature))
	}
	return Signer{}, errors.Join(reasons...)
}

func issuer(s *packet.Signature) string {
	if s.IssuerFingerprint != nil {
		return fmt.Sprintf("%X", s.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *s.IssuerKeyId)
}

// candidates returns the keys that may have made s: those of the keyring,
// together with what s brought along about them.
func (k *Keyring) candidates(s signature) []openpgp.Key {
	var found []openpgp.Key
	for _, e := range k.keys {
		for _, brought := range s.keys {
			if bytes.Equal(brought.PrimaryKey.Fingerprint, e.PrimaryKey.Fingerprint) {
				e = merge(e, brought)
			}
		}
		if s.CheckKeyIdOrFingerprint(e.PrimaryKey) {
			found = append(found, openpgp.Key{Entity: e, PublicKey: e.PrimaryKey})
		}
		for _, sub := range e.Subkeys {
			if s.CheckKeyIdOrFingerprint(sub.PublicKey) {
				found = append(found, openpgp.Key{Entity: e, PublicKey: sub.PublicKey})
			}
		}
	}
	return found
}

func signerOf(e *openpgp.Entity, s *packet.Signature) Signer {
	signer := Signer{Fingerprint: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint), Made: s.CreationTime}
	if _, identity := e.PrimaryIdentity(time.Time{}, nil); identity != nil {
		signer.Identity = identity.Name
	}
	return signer
}

// checkWith says why s by key over signed is not good, nil if it is.
func checkWith(key openpgp.Key, signed []byte, s *packet.Signature) error {
	if err := checkDetails(key.PublicKey, s, time.Now()); err != nil {
		return err
	}
	direct, err := s.PrepareVerify()
	if err != nil {
		return err
	}
	over := direct
	if s.SigType == packet.SigTypeText {
		over = openpgp.NewCanonicalTextHash(direct)
	}
	_, _ = over.Write(signed) // a hash never fails
	if err := key.PublicKey.VerifySignature(direct, s); err != nil {
		return errors.New("it is not a signature of this data")
	}
	return checkKey(key, s.CreationTime)
}

// checkDetails judges what a signature says of itself.
func checkDetails(key *packet.PublicKey, s *packet.Signature, now time.Time) error {
	switch {
	case s.SigType != packet.SigTypeBinary && s.SigType != packet.SigTypeText:
		return fmt.Errorf("it is a signature of type %#x, not of data", uint8(s.SigType))
	case s.Hash == crypto.MD5, s.Hash == crypto.SHA1, s.Hash == crypto.RIPEMD160:
		return fmt.Errorf("it is made with %s, which can be forged", s.Hash)
	case s.CreationTime.After(now.Add(clockSlack)):
		return fmt.Errorf("it was made in the future, %s; is the clock right?", s.CreationTime.UTC().Format(time.DateTime))
	case s.CreationTime.Before(key.CreationTime):
		return errors.New("it is older than its key")
	case lapsed(s, now):
		return errors.New("it has expired")
	}
	for _, n := range s.Notations {
		if n.IsCritical {
			return fmt.Errorf("it has the critical notation %q, which is not known", n.Name)
		}
	}
	return nil
}

// lapsed tells whether a signature had a lifetime that is over at t.
func lapsed(s *packet.Signature, t time.Time) bool {
	return s.SigLifetimeSecs != nil && *s.SigLifetimeSecs != 0 &&
		t.After(s.CreationTime.Add(time.Duration(*s.SigLifetimeSecs)*time.Second))
}

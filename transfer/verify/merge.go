package verify

import (
	"bytes"
	"slices"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// merge returns a key with all that two copies of it say. Nothing of it is
// believed yet: each signature is verified against the primary key, which is that
// of a, when the key is used.
func merge(a, b *openpgp.Entity) *openpgp.Entity {
	m := &openpgp.Entity{
		PrimaryKey:       a.PrimaryKey,
		Identities:       map[string]*openpgp.Identity{},
		Revocations:      unjudged(slices.Concat(a.Revocations, b.Revocations)),
		DirectSignatures: unjudged(slices.Concat(a.DirectSignatures, b.DirectSignatures)),
	}
	for _, from := range []*openpgp.Entity{a, b} {
		for name, identity := range from.Identities {
			mergeIdentity(m, name, identity)
		}
		for _, subkey := range from.Subkeys {
			mergeSubkey(m, subkey)
		}
	}
	return m
}

func mergeIdentity(m *openpgp.Entity, name string, from *openpgp.Identity) {
	into := m.Identities[name]
	if into == nil {
		into = &openpgp.Identity{Primary: m, Name: from.Name, UserId: from.UserId}
		m.Identities[name] = into
	}
	into.SelfCertifications = append(into.SelfCertifications, unjudged(from.SelfCertifications)...)
	into.Revocations = append(into.Revocations, unjudged(from.Revocations)...)
}

func mergeSubkey(m *openpgp.Entity, from openpgp.Subkey) {
	i := slices.IndexFunc(m.Subkeys, func(s openpgp.Subkey) bool {
		return bytes.Equal(s.PublicKey.Fingerprint, from.PublicKey.Fingerprint)
	})
	if i < 0 {
		i = len(m.Subkeys)
		m.Subkeys = append(m.Subkeys, openpgp.Subkey{Primary: m, PublicKey: from.PublicKey})
	}
	into := &m.Subkeys[i]
	into.Bindings = append(into.Bindings, unjudged(from.Bindings)...)
	into.Revocations = append(into.Revocations, unjudged(from.Revocations)...)
}

// unjudged copies signatures without what was found out about them: that held
// for the key that they came with.
func unjudged(from []*packet.VerifiableSignature) []*packet.VerifiableSignature {
	var out []*packet.VerifiableSignature
	for _, s := range from {
		out = append(out, packet.NewVerifiableSig(s.Packet))
	}
	return out
}

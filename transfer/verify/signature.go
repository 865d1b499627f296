package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	// maxSignature is how many bytes a signature file may have, keys in it
	// included.
	maxSignature = 1 << 20
	// maxSignatures is how many signatures are looked at.
	maxSignatures = 32

	signatureTag       = 2
	keyBlockSubpacket  = 38
	maxKeyBlockSubkeys = 64
)

// signature is one signature packet and the key that it brought along.
type signature struct {
	*packet.Signature
	keys openpgp.EntityList
}

// parseSignatures reads a binary or armored signature file. Packets of unknown
// kinds and versions are passed over as long as one can be read.
func parseSignatures(data []byte) ([]signature, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, ErrNoSignature
	}
	if len(data) > maxSignature {
		return nil, fmt.Errorf("signature of %d bytes: %w: more than %d", len(data), ErrMalformed, maxSignature)
	}
	blocks := [][]byte{data}
	if isArmored(data) {
		var err error
		if blocks, err = dearmor(data, openpgp.SignatureType); err != nil {
			return nil, fmt.Errorf("signature: %w", err)
		}
	}
	var all []signature
	var skipped []error
	for _, block := range blocks {
		packets := packet.NewOpaqueReader(bytes.NewReader(block))
		for len(all)+len(skipped) < maxSignatures {
			raw, err := packets.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("signature: %w: %w", ErrMalformed, err)
			}
			if s, err := parseSignature(raw); err != nil {
				skipped = append(skipped, err)
			} else {
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("signature: %w: %w", ErrMalformed, errors.Join(skipped...))
	}
	return all, nil
}

func parseSignature(raw *packet.OpaquePacket) (signature, error) {
	if raw.Tag != signatureTag {
		return signature{}, fmt.Errorf("packet %d is not a signature", raw.Tag)
	}
	p, err := raw.Parse()
	if err != nil {
		return signature{}, err
	}
	s, ok := p.(*packet.Signature)
	if !ok {
		return signature{}, fmt.Errorf("packet is %T, not a signature", p)
	}
	return signature{s, keyBlock(raw.Contents)}, nil
}

// keyBlock returns the keys in a version 4 signature: a subpacket of draft
// RFC 4880bis, 5.2.3.31, which lies outside of what is signed. What is wrong with
// it does not make the signature wrong, so it is then as if it was not there.
func keyBlock(contents []byte) openpgp.EntityList {
	for _, area := range subpacketAreas(contents) {
		subpackets, err := packet.OpaqueSubpackets(area)
		if err != nil {
			return nil
		}
		for _, s := range subpackets {
			if s.SubType&0x7f != keyBlockSubpacket || len(s.Contents) < 2 || s.Contents[0] != 0 {
				continue
			}
			keys, err := openpgp.ReadKeyRing(bytes.NewReader(s.Contents[1:]))
			if err != nil || len(keys) != 1 || len(keys[0].Subkeys) > maxKeyBlockSubkeys {
				return nil
			}
			return keys
		}
	}
	return nil
}

// subpacketAreas returns the hashed and the unhashed subpackets.
func subpacketAreas(contents []byte) (areas [][]byte) {
	const fixed = 4 // version, type, algorithms
	if len(contents) < fixed || contents[0] != 4 {
		return nil
	}
	rest := contents[fixed:]
	for range 2 {
		if len(rest) < 2 {
			return areas
		}
		size := int(rest[0])<<8 | int(rest[1])
		if rest = rest[2:]; size > len(rest) {
			return areas
		}
		areas = append(areas, rest[:size])
		rest = rest[size:]
	}
	return areas
}

package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is a SHA-256 digest.
type Digest [sha256.Size]byte

// ParseDigest reads 64 hexadecimal digits, in upper or lower case.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) {
		return Digest{}, fmt.Errorf("SHA-256 digest of %d digits instead of %d: %w", len(s), hex.EncodedLen(len(d)), ErrMalformed)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("SHA-256 digest: %w: %w", err, ErrMalformed)
	}
	return d, nil
}

// String returns 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

package verify

import "errors"

var (
	// ErrMalformed is returned for a list, signature or keyring that is not what
	// it should be or exceeds a limit.
	ErrMalformed = errors.New("malformed")
	// ErrNotListed is returned for a name that a checksum list does not contain.
	ErrNotListed = errors.New("not in the checksum list")
	// ErrNoSignature is returned where there is none at all.
	ErrNoSignature = errors.New("no signature")
	// ErrUnknownKey is returned for signatures by keys that are not in the
	// keyring. The text names them.
	ErrUnknownKey = errors.New("signed by a key that is not in the keyring")
	// ErrBadSignature is returned for a signature by a known key that does not
	// hold. The text says why.
	ErrBadSignature = errors.New("bad signature")
	// ErrNoKeyring is returned where there is no keyring, or no key in it.
	ErrNoKeyring = errors.New("no keyring to verify signatures with")
)

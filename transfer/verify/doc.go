// Package verify says whether what was received is what its maker published: it
// reads checksum lists in the forms that image servers use, and checks OpenPGP
// signatures of them against keyrings, in this process.
//
// # What a good signature is
//
// A signature counts if it was made by a signing key of the keyring, or by a
// subkey that one of them has bound, over the very bytes (or their lines, for
// text signatures), with a hash other than MD5, SHA-1 and RIPEMD-160. Any key of
// the keyring is trusted, as with gpg's --trust-model=always; and of several
// signatures one good one is enough.
//
// A key that has expired still vouches for what it signed while it was valid. A
// key that was revoked because it is compromised, or for no stated reason,
// vouches for nothing; one that was superseded or retired still vouches for what
// it signed before. gpg accepts more here (it says a word of warning and
// succeeds): a revocation that is only printed protects nobody.
//
// A signature may bring its key along (gpg's --include-key-block). Then subkeys,
// new expiry dates and revocations in it are taken in for this one check, if they
// belong to a primary key of the keyring and are signed by it.
package verify

package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// maxKeyring is how many bytes a keyring file may have. That of a distribution
// with all its developers has a few.
const maxKeyring = 64 << 20

// Keyring is a set of public keys. It may be used from several goroutines.
type Keyring struct {
	mu   sync.Mutex // the library notes on the keys what it has verified
	keys openpgp.EntityList
}

// LoadKeyring reads keyring files and makes one keyring of them. A file holds
// public keys in binary form, in armor, or as a keybox of gpg. What several files
// say of one key is joined: a revocation in any of them counts.
//
// Keys of unknown kinds are passed over. A keyring without any key is
// ErrNoKeyring.
func LoadKeyring(paths ...string) (*Keyring, error) {
	k := &Keyring{}
	for _, path := range paths {
		keys, err := readKeyringFile(path)
		if err != nil {
			return nil, fmt.Errorf("load keyring %s: %w", path, err)
		}
		for _, key := range keys {
			k.add(key)
		}
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("load keyring: %w: %d files hold no key", ErrNoKeyring, len(paths))
	}
	return k, nil
}

func (k *Keyring) add(key *openpgp.Entity) {
	for i, known := range k.keys {
		if bytes.Equal(known.PrimaryKey.Fingerprint, key.PrimaryKey.Fingerprint) {
			k.keys[i] = merge(known, key)
			return
		}
	}
	k.keys = append(k.keys, key)
}

func readKeyringFile(path string) (_ openpgp.EntityList, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyring+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyring {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxKeyring)
	}
	return parseKeyring(data)
}

func parseKeyring(data []byte) (openpgp.EntityList, error) {
	var blocks [][]byte
	var err error
	switch {
	case len(data) == 0:
		return nil, nil
	case isKeybox(data):
		blocks, err = keyboxBlocks(data)
	case isArmored(data):
		blocks, err = dearmor(data, openpgp.PublicKeyType)
	default:
		blocks = [][]byte{data}
	}
	if err != nil {
		return nil, err
	}
	var all openpgp.EntityList
	for _, block := range blocks {
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(block))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

func isArmored(data []byte) bool { return bytes.Contains(data, []byte("-----BEGIN PGP ")) }

// maxBlocks is how many armored blocks a file may have.
const maxBlocks = 4096

// dearmor returns the contents of all blocks of one kind.
func dearmor(data []byte, kind string) (blocks [][]byte, err error) {
	in := bufio.NewReader(bytes.NewReader(data))
	for range maxBlocks {
		block, err := armor.Decode(in) // goes on in a bufio.Reader where it stopped
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read armor: %w: %w", ErrMalformed, err)
		}
		content, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("read armor: %w: %w", ErrMalformed, err)
		}
		if block.Type == kind {
			blocks = append(blocks, content)
		}
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("read armor: %w: no block of kind %q", ErrMalformed, kind)
	}
	return blocks, nil
}

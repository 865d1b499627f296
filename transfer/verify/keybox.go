package verify

import (
	"encoding/binary"
	"fmt"
)

// The keybox is what gpg 2.1 and later make of a new keyring file. Facts from
// GnuPG's description of the format (kbx/keybox-blob.c): blobs one after the
// other, each with its length, type, version, flags, and where in it the OpenPGP
// keyblock lies.
const (
	keyboxMagic    = "KBXf"
	keyboxHeader   = 32
	keyboxOpenPGP  = 2
	keyboxMinBlob  = 5
	keyboxKeyBlock = 16 // bytes up to the end of offset and length
)

func isKeybox(data []byte) bool {
	return len(data) >= keyboxHeader && string(data[8:12]) == keyboxMagic
}

// keyboxBlocks returns the OpenPGP keyblocks of a keybox.
func keyboxBlocks(data []byte) (blocks [][]byte, err error) {
	for len(data) > 0 {
		if len(data) < keyboxMinBlob {
			return nil, fmt.Errorf("keybox: %w: %d bytes after the last blob", ErrMalformed, len(data))
		}
		size := uint64(binary.BigEndian.Uint32(data))
		if size < keyboxMinBlob || size > uint64(len(data)) {
			return nil, fmt.Errorf("keybox: %w: blob of %d bytes where %d are left", ErrMalformed, size, len(data))
		}
		blob := data[:size]
		data = data[size:]
		if blob[4] != keyboxOpenPGP {
			continue
		}
		if size < keyboxKeyBlock {
			return nil, fmt.Errorf("keybox: %w: short key blob", ErrMalformed)
		}
		start, length := uint64(binary.BigEndian.Uint32(blob[8:])), uint64(binary.BigEndian.Uint32(blob[12:]))
		if start+length > size {
			return nil, fmt.Errorf("keybox: %w: keyblock exceeds its blob", ErrMalformed)
		}
		blocks = append(blocks, blob[start:start+length])
	}
	return blocks, nil
}

package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// KeyringVariable names the environment variable that replaces the keyrings of
// the host by one file.
const KeyringVariable = "SYSTEMD_OPENPGP_KEYRING"

// KeyringPaths returns the keyrings to verify with, which together make one:
//
//   - the file that $SYSTEMD_OPENPGP_KEYRING names, alone, if it is set; it must
//     be an absolute path without "." or ".." in it;
//   - else the administrator's, /etc/systemd/import-pubring.pgp or, where that
//     is missing, /etc/systemd/import-pubring.gpg,
//     and the vendor's, /usr/lib/systemd/import-pubring.pgp.
//
// Where none exists, ErrNoKeyring is returned, and the text says where one could
// be. root is put in front of the host's paths; getenv is [os.Getenv] in a daemon.
func KeyringPaths(root string, getenv func(string) string) ([]string, error) {
	if path := getenv(KeyringVariable); path != "" {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return nil, fmt.Errorf("$%s is %q: %w: it must be an absolute path in its shortest form", KeyringVariable, path, ErrMalformed)
		}
		return []string{path}, nil
	}
	own := filepath.Join("/", root, "etc/systemd/import-pubring.pgp")
	legacy := filepath.Join("/", root, "etc/systemd/import-pubring.gpg")
	vendor := filepath.Join("/", root, "usr/lib/systemd/import-pubring.pgp")
	var found []string
	for _, choice := range [][]string{{own, legacy}, {vendor}} {
		path, err := firstExisting(choice)
		if err != nil {
			return nil, err
		}
		if path != "" {
			found = append(found, path)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: there is neither %s nor %s", ErrNoKeyring, own, vendor)
	}
	return found, nil
}

func firstExisting(paths []string) (string, error) {
	for _, path := range paths {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for keyring: %w", err)
		}
	}
	return "", nil
}

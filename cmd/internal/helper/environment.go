package helper

import "fmt"

// Environment is what the environment says of how images are made. Options count
// more.
type Environment struct {
	// NoSync does not wait for the disk, NoSubvolumes makes plain directories.
	NoSync, NoSubvolumes bool
}

// ReadEnvironment reads the variables of the original, for helpers and daemon. warn
// is told of values that are passed over. Quota is left as it is, whatever is said
// of it.
func ReadEnvironment(getenv func(string) string, warn func(text string)) Environment {
	var e Environment
	for name, set := range map[string]func(string) error{
		"SYSTEMD_IMPORT_BTRFS_SUBVOL": not(&e.NoSubvolumes),
		"SYSTEMD_IMPORT_SYNC":         not(&e.NoSync),
	} {
		if text := getenv(name); text != "" {
			if err := set(text); err != nil {
				warn(fmt.Sprintf("Ignoring %s=%s: %v.", name, text, err))
			}
		}
	}
	return e
}

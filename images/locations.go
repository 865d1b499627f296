package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Locations says where a store looks. The zero value finds nothing.
type Locations struct {
	// Search holds the directories of each class; the first that has a name wins.
	Search map[Class][]string
	// Pool is the directory of each class where new images go.
	Pool map[Class]string
	// Locks is the directory of the locks that are shared with systemd-nspawn.
	// It is made when missing. Empty: no locks at all.
	Locks string
	// NoPathLocks leaves out the locks on images and keeps those on names.
	NoPathLocks bool
	// Settings are the directories of .nspawn files outside the pools. The
	// first takes what is copied from a vendor's.
	Settings []string
	// Vendor is the directory below which nothing is changed, such as "/usr".
	Vendor string
	// Host adds the image ".host" for the machine's own tree.
	Host bool
}

// SystemLocations returns the places of the system's images below root, which
// is "" or "/" but for tests and demonstrations.
func SystemLocations(root string) Locations {
	at := func(paths ...string) []string {
		out := make([]string, len(paths))
		for i, p := range paths {
			out[i] = filepath.Join("/", root, p)
		}
		return out
	}
	return Locations{
		Search: map[Class][]string{
			ClassMachine: at("/etc/machines", "/run/machines", "/var/lib/machines", "/var/lib/container",
				"/usr/local/lib/machines", "/usr/lib/machines"),
			ClassPortable: at("/etc/portables", "/run/portables", "/var/lib/portables",
				"/usr/local/lib/portables", "/usr/lib/portables"),
			ClassSysext:  at("/etc/extensions", "/run/extensions", "/var/lib/extensions"),
			ClassConfext: at("/run/confexts", "/var/lib/confexts", "/usr/local/lib/confexts", "/usr/lib/confexts"),
		},
		Pool: map[Class]string{
			ClassMachine:  at("/var/lib/machines")[0],
			ClassPortable: at("/var/lib/portables")[0],
			ClassSysext:   at("/var/lib/extensions")[0],
			ClassConfext:  at("/var/lib/confexts")[0],
		},
		Locks:       at("/run/systemd/nspawn/locks")[0],
		NoPathLocks: noPathLocks(),
		Settings:    at("/etc/systemd/nspawn", "/run/systemd/nspawn", "/usr/lib/systemd/nspawn"),
		Vendor:      at("/usr")[0],
		Host:        true,
	}
}

// UserLocations returns the places of the images of the user who runs this
// process: machines and portables only, and no host image.
func UserLocations() (Locations, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Locations{}, fmt.Errorf("find home directory: %w", err)
	}
	if !filepath.IsAbs(home) {
		return Locations{}, fmt.Errorf("find home directory: %q is not absolute", home)
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		state = filepath.Join(home, ".local/state")
	}
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(home, ".config")
	}
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if runtime != "" && !filepath.IsAbs(runtime) {
		return Locations{}, errors.New("find runtime directory: XDG_RUNTIME_DIR is not absolute")
	}
	l := Locations{
		Search: map[Class][]string{}, Pool: map[Class]string{},
		NoPathLocks: noPathLocks(), Vendor: "/usr",
		Settings: []string{filepath.Join(config, "systemd/nspawn")},
	}
	if runtime != "" {
		l.Locks = filepath.Join(runtime, "systemd/nspawn/locks")
		l.Settings = append(l.Settings, filepath.Join(runtime, "systemd/nspawn"))
	}
	l.Settings = append(l.Settings, filepath.Join(home, ".local/lib/systemd/nspawn"))
	for class, dir := range map[Class]string{ClassMachine: "machines", ClassPortable: "portables"} {
		if runtime != "" {
			l.Search[class] = append(l.Search[class], filepath.Join(runtime, dir))
		}
		l.Search[class] = append(l.Search[class], filepath.Join(state, dir), filepath.Join(home, ".local/lib", dir))
		l.Pool[class] = filepath.Join(state, dir)
	}
	return l, nil
}

// noPathLocks honours the switch that systemd-nspawn has.
func noPathLocks() bool {
	switch strings.ToLower(os.Getenv("SYSTEMD_NSPAWN_LOCK")) {
	case "0", "no", "n", "false", "f", "off":
		return true
	}
	return false
}

// vendor reports whether path lies below the vendor's directory.
func (l Locations) vendor(path string) bool {
	return l.Vendor != "" && strings.HasPrefix(path, strings.TrimSuffix(l.Vendor, "/")+"/")
}

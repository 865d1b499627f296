package bus

import (
	"errors"
	"os"
	"strings"

	"berth/machined"
)

// Target says on whose bus a daemon is. Its zero value is that of this system.
type Target struct {
	// Host is [USER@]HOST[:PORT][/CONTAINER], reached by ssh.
	Host string
	// Container is [USER@]NAME, a machine of this host.
	Container string
	// User is the bus of a user instead of the system's.
	User bool
}

// Local says whether it is a bus of this host.
func (t Target) Local() bool { return t.Host == "" && (t.Container == "" || t.isOurs()) }

// isOurs says whether the container is this host as the user who calls.
func (t Target) isOurs() bool {
	switch t.Container {
	case "@", "@" + machined.HostName:
		return true
	case machined.HostName, "root@", "root@" + machined.HostName:
		return os.Geteuid() == 0
	}
	return false
}

// Runtime is where the daemon of a local target has what the system's one has at
// path, which begins with "/run/".
func (t Target) Runtime(path string) (string, error) {
	if !t.User {
		return path, nil
	}
	dir, err := runtimeDir()
	if err != nil {
		return "", err
	}
	return dir + strings.TrimPrefix(path, "/run"), nil
}

func runtimeDir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return "", errors.New("the session of this user is not known: $XDG_RUNTIME_DIR is not set")
	}
	return dir, nil
}

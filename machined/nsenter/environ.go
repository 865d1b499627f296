package nsenter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// defaultPath is searched where the caller gives no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment puts the caller's variables over the defaults. The last of
// several assignments to one variable counts.
func environment(given []string, user Account, container string) []string {
	env := []string{
		"PATH=" + defaultPath, "HOME=" + user.Home, "USER=" + user.Name,
		"LOGNAME=" + user.Name, "SHELL=" + user.Shell, "TERM=dumb",
	}
	if container != "" {
		env = append(env, "container="+container)
	}
	for _, assignment := range given {
		name, _, _ := strings.Cut(assignment, "=")
		env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		env = append(env, assignment)
	}
	return env
}

// candidates lists the paths at which a command may be. They are tried in turn,
// within the guest and as its user.
func candidates(command string, env []string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	search := defaultPath
	for _, s := range env {
		if v, ok := strings.CutPrefix(s, "PATH="); ok {
			search = v
		}
	}
	var list []string
	for _, dir := range strings.Split(search, ":") {
		if !path.IsAbs(dir) {
			continue // never the working directory, which anyone may have written to
		}
		list = append(list, path.Join(dir, command))
	}
	if len(list) == 0 {
		list = append(list, path.Join("/", command))
	}
	return list
}

const (
	// maxEnviron bounds what is read of the leader's environment.
	maxEnviron = 128 << 10
	// maxContainerName bounds the value that is handed on.
	maxContainerName = 64
)

// containerName is the value of "container" in the leader's environment, by
// which programs in the guest know where they run; empty when there is none or
// it is no plain word.
func (t Target) containerName() (name string, err error) {
	f, err := os.Open(t.proc("environ"))
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		return "", nil // a leader with ids of a range is not the user's in the eyes of /proc
	}
	if err != nil {
		return "", fmt.Errorf("read environment of leader: %w", t.cause(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return "", fmt.Errorf("read environment of leader: %w", t.cause(err))
	}
	if err := t.Alive(); err != nil {
		return "", err
	}
	for assignment := range bytes.SplitSeq(data, []byte{0}) {
		if value, ok := bytes.CutPrefix(assignment, []byte("container=")); ok {
			return containerWord(string(value)), nil
		}
	}
	return "", nil
}

func containerWord(value string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	if len(value) > maxContainerName || strings.ContainsFunc(value, odd) {
		return ""
	}
	return value
}

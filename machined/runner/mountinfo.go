package runner

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// hasUnified reports whether cgroup v2 is mounted, alone or beside v1
// (proc_pid_mountinfo(5): the type follows the separator).
func hasUnified(mountinfo string) (found bool, err error) {
	f, err := os.Open(mountinfo)
	if err != nil {
		return false, fmt.Errorf("look for cgroup v2: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if _, after, _ := strings.Cut(lines.Text(), " - "); strings.HasPrefix(after, "cgroup2 ") {
			return true, nil
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("look for cgroup v2: %w", err)
	}
	return false, nil
}

package images

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// holder names another holder of the open lock file, "" when none can be told.
// The kernel does not say who owns such a lock, so the open files of all
// processes are searched; that happens only on the way to an error.
func holder(f *os.File) string {
	path, own := f.Name(), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		pid := strings.Split(link, "/")[2]
		if target, err := os.Readlink(link); err != nil || target != path {
			continue
		}
		if link == own {
			continue
		}
		if pid == fmt.Sprint(os.Getpid()) {
			return "another operation of this process"
		}
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
	}
	return ""
}

package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Cleaner is what a Runner has whose program leaves something behind.
type Cleaner interface {
	// Clean removes what is left of an ended machine, given the path of its
	// control group in the cgroup v2 tree, such as
	// "/machine.slice/machine-foo.scope". Processes that are still on their way
	// out are waited for. Doing it twice is no error.
	Clean(ctx context.Context, cgroup string) error
}

var _ Cleaner = (*Nspawn)(nil)

// Clean implements Cleaner: on a hybrid host nspawn makes the machine's control
// groups once more in the named v1 hierarchy, and forgets them there.
func (n *Nspawn) Clean(ctx context.Context, cgroup string) error {
	if !path.IsAbs(cgroup) || path.Clean(cgroup) != cgroup || cgroup == "/" {
		return fmt.Errorf("clean up after control group %q: %w", cgroup, ErrInvalidSpec)
	}
	mount, err := findMount(n.files.mounts, mountEntry.isNamedHierarchy)
	if err != nil || mount == "" {
		return err
	}
	// Unlike v2, this hierarchy cannot tell when a group has become empty.
	tick := time.NewTicker(busyStep)
	defer tick.Stop()
	for {
		err := removeGroups(filepath.Join(mount, cgroup))
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// busyStep is the time between two attempts to remove a group.
const busyStep = 20 * time.Millisecond

// removeGroups removes a tree of control groups, deepest first. Their files go
// with them.
func removeGroups(top string) error {
	var groups []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list control groups: %w", err)
	}
	for _, group := range slices.Backward(groups) {
		if err := unix.Rmdir(group); err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "remove control group", Path: group, Err: err}
		}
	}
	return nil
}

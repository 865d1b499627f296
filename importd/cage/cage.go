// Package cage confines the calling process for good: the workers of importd
// enter it before they touch the first foreign byte.
//
// A cage is made of what the kernel offers to an unprivileged step:
// no_new_privs, a smaller capability set, resource limits, a Landlock domain
// that leaves only the named paths, and a seccomp filter. Nothing can be taken
// back afterwards, and everything the process starts later is confined too.
package cage

import (
	"fmt"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Rules says what a confined process keeps.
type Rules struct {
	// Read lists directories and files that stay readable and executable.
	// Missing ones are passed over.
	Read []string
	// Write lists directories beneath which everything may be read, made,
	// written, renamed and removed.
	Write []string
	// WriteFiles lists single files that may be read and written.
	WriteFiles []string
	// Network keeps the right to open sockets other than AF_UNIX ones.
	Network bool
	// Capabilities are kept if the process has them; all others are dropped
	// from every set, the bounding set included.
	Capabilities []cap.Value
}

// Missing names the protections that this kernel could not give. The cage is
// entered all the same: a worker on an old kernel is no worse than one that
// never had Landlock.
type Missing []string

// String lists the missing protections for a log line.
func (m Missing) String() string { return strings.Join(m, ", ") }

// maxFiles bounds the descriptors of a worker: enough for a cache of open
// directories and a handful of connections.
const maxFiles = 4096

// Enter confines the process according to r. Any error leaves it partly
// confined, and the caller must end.
func Enter(r Rules) (Missing, error) {
	var missing Missing
	if err := limitResources(); err != nil {
		return nil, err
	}
	if err := dropCapabilities(r.Capabilities); err != nil {
		return nil, err
	}
	if !landlockAvailable() {
		missing = append(missing, "Landlock")
	} else if err := restrictPaths(r); err != nil {
		return nil, err
	}
	if err := filterCalls(r.Network); err != nil {
		return nil, err
	}
	return missing, nil
}

func limitResources() error {
	limits := []struct {
		what  string
		which int
		value uint64
	}{
		{"core size", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, maxFiles},
	}
	for _, l := range limits {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.which, &old); err != nil {
			return fmt.Errorf("read limit of %s: %w", l.what, err)
		}
		value := min(l.value, old.Max)
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s: %w", l.what, err)
		}
	}
	return nil
}

// dropCapabilities leaves keep, as far as the process has it, in the permitted
// and effective sets and removes everything else from all sets.
func dropCapabilities(keep []cap.Value) error {
	now := cap.GetProc()
	kept := cap.NewSet()
	for _, v := range keep {
		has, err := now.GetFlag(cap.Permitted, v)
		if err != nil {
			return fmt.Errorf("look up capability %s: %w", v, err)
		}
		if !has {
			continue
		}
		for _, vector := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := kept.SetFlag(vector, true, v); err != nil {
				return fmt.Errorf("keep capability %s: %w", v, err)
			}
		}
	}
	if err := dropBounding(now, kept); err != nil {
		return err
	}
	if err := kept.SetProc(); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// dropBounding needs CAP_SETPCAP; a process without it is not root, has
// nothing to regain, and keeps its bounding set under no_new_privs.
func dropBounding(now, kept *cap.Set) error {
	if may, err := now.GetFlag(cap.Effective, cap.SETPCAP); err != nil || !may {
		return err
	}
	for v := range cap.MaxBits() {
		if keep, err := kept.GetFlag(cap.Permitted, v); err != nil || keep {
			continue
		}
		if has, err := cap.GetBound(v); err == nil && !has {
			continue // [Bound] did
		}
		if err := cap.DropBound(v); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", v, err)
		}
	}
	return nil
}

// landlockAvailable asks the kernel for the version of its Landlock interface.
func landlockAvailable() bool {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0 && abi > 0
}

func restrictPaths(r Rules) error {
	rules := []landlock.Rule{
		landlock.RODirs(directories(r.Read)...).IgnoreIfMissing(),
		landlock.ROFiles(files(r.Read)...).IgnoreIfMissing(),
		landlock.RWDirs(r.Write...).WithRefer(),
		landlock.RWFiles(append(r.WriteFiles, "/dev/null")...),
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("restrict paths with Landlock: %w", err)
	}
	return nil
}

// directories and files split paths, since Landlock refuses directory rights
// on a file. What cannot be looked at is left to the directories, where a
// missing path is passed over.
func directories(paths []string) []string {
	return split(paths, func(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFDIR })
}

func files(paths []string) []string {
	return split(paths, func(mode uint32) bool { return mode&unix.S_IFMT != unix.S_IFDIR })
}

func split(paths []string, want func(mode uint32) bool) []string {
	var out []string
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err == nil && want(st.Mode) {
			out = append(out, p)
		}
	}
	return out
}

package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/images/foreign"
)

// SpoolPrefix begins the names of the files in which downloads keep compressed
// bytes, to go on after a crash. While a download runs it holds their flock.
const SpoolPrefix = tempPrefix + "spool-"

// SpoolAge is how long a spool waits for somebody to come back for it.
const SpoolAge = 7 * 24 * time.Hour

// SweepOptions say what a sweep takes.
type SweepOptions struct {
	// SpoolAge is the time since its last change after which a spool goes; zero
	// takes every spool.
	SpoolAge time.Duration
	// Abandoned is the temporary name of an image whose writers were all killed, or
	// empty. A process that dies closes its files one after the other, and its lock may
	// be the last that it lets go, so this one's is waited for.
	Abandoned string
	// Foreign removes trees of the foreign range, for a user who is not root.
	Foreign *foreign.User
}

var tempPattern = regexp.MustCompile(`^\.#(?:` + tempTree + `|` + tempFile + `|` + tempRemove + `)[0-9a-f]{16}$`)

// Sweep removes what dead writers have left in an image directory: pending
// images, images that were being removed, and old spools, all only when nobody
// holds their flock, and lock files of images that nobody has locked. It returns the names that have gone. What cannot be removed
// is reported in the error and does not keep the rest from being removed. A
// directory that does not exist is clean.
func Sweep(ctx context.Context, root string, o SweepOptions) (removed []string, err error) {
	dir, err := os.OpenFile(root, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sweep image directory: %w", err)
	}
	defer dir.Close()
	awaitUnlocked(ctx, dir, o.Abandoned)
	removed, err = sweepLocks(dir)
	if err != nil {
		return nil, fmt.Errorf("sweep %s: %w", root, err)
	}
	left, err := leftovers(dir, o)
	if err != nil {
		return removed, fmt.Errorf("sweep %s: %w", root, err)
	}
	var errs []error
	for _, f := range left {
		name := f.Name()[strings.LastIndexByte(f.Name(), '/')+1:]
		err := RemoveEntry(ctx, o.Foreign, dir, name)
		if err == nil {
			removed = append(removed, name)
		} else {
			errs = append(errs, fmt.Errorf("sweep %s: %w", name, err))
		}
		errs = append(errs, f.Close())
	}
	return removed, errors.Join(errs...)
}

// How long a sweep waits for the lock of an abandoned image, and between two looks.
const (
	abandonedPatience = 30 * time.Second
	abandonedStep     = 2 * time.Millisecond
)

// awaitUnlocked returns when nobody holds the lock of an abandoned image, or after a
// while: then whoever sweeps next may have it.
func awaitUnlocked(ctx context.Context, dir *os.File, name string) {
	if !tempPattern.MatchString(name) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, abandonedPatience)
	defer cancel()
	for ctx.Err() == nil && lockedByOther(dir, name) {
		select {
		case <-time.After(abandonedStep):
		case <-ctx.Done():
		}
	}
}

// lockedByOther is false for an entry that is gone or cannot be locked at all.
func lockedByOther(dir *os.File, name string) bool {
	f, err := openEntry(dir, name)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only looked at
	return errors.Is(tryFlock(f), unix.EWOULDBLOCK)
}

// leftovers opens and locks everything that is to go. An entry that nobody has locked
// is a dead one, or so new that its writer will see that it is gone.
func leftovers(dir *os.File, o SweepOptions) ([]*os.File, error) {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var left []*os.File
	for _, name := range names {
		spool := strings.HasPrefix(name, SpoolPrefix)
		if !spool && !tempPattern.MatchString(name) {
			continue
		}
		f, err := openEntry(dir, name)
		if err != nil {
			continue // gone meanwhile, or nothing that a writer makes
		}
		if tryFlock(f) != nil || spool && !olderThan(f, o.SpoolAge) || !stillCalled(dir, name, f) {
			if err := f.Close(); err != nil {
				return left, err
			}
			continue
		}
		left = append(left, f)
	}
	return left, nil
}

// stillCalled says whether an open entry has its name still. A writer that has given its image another one lets go of
// the lock as well, and what is called so by then is no longer ours to judge.
func stillCalled(dir *os.File, name string, f *os.File) bool {
	var now, opened unix.Stat_t
	err := errors.Join(unix.Fstatat(int(dir.Fd()), name, &now, unix.AT_SYMLINK_NOFOLLOW), unix.Fstat(int(f.Fd()), &opened))
	return err == nil && now.Dev == opened.Dev && now.Ino == opened.Ino
}

func olderThan(f *os.File, age time.Duration) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) >= age
}

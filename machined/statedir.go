package machined

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	linkPrefix = "unit:"
	// Readers skip names that begin with a dot: they cannot be machines.
	tempPrefix    = ".#"
	corruptPrefix = ".corrupt-"
)

// stateDir is the directory of state files.
type stateDir struct{ path string }

func openStateDir(path string) (stateDir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return stateDir{}, fmt.Errorf("make state directory: %w", err)
	}
	return stateDir{path: path}, nil
}

// save writes the file of m. Nothing else in the directory is touched.
func (d stateDir) save(m Machine) error {
	if err := d.replace(m.Name, formatState(m)); err != nil {
		return fmt.Errorf("write state of machine %s: %w", m.Name, err)
	}
	return nil
}

// linkUnit makes the link from the unit of m, if all of the unit is m's.
func (d stateDir) linkUnit(m Machine) error {
	if !m.ownsWholeUnit() {
		return nil
	}
	if err := d.link(linkPrefix+m.Unit, m.Name); err != nil {
		return fmt.Errorf("link unit %s to machine %s: %w", m.Unit, m.Name, err)
	}
	return nil
}

// replace renames a complete file over the target, which is what the readers'
// inotify watches wait for. There is one replacement of a name at a time.
func (d stateDir) replace(name string, text []byte) error {
	temp := filepath.Join(d.path, tempPrefix+name)
	err := writeNew(temp, text)
	if errors.Is(err, os.ErrExist) { // of a replacement that failed
		err = errors.Join(removeFile(temp), writeNew(temp, text))
	}
	if err != nil {
		return err
	}
	if err := unix.Rename(temp, filepath.Join(d.path, name)); err != nil {
		return errors.Join(&os.LinkError{Op: "rename", Old: temp, New: name, Err: err}, os.Remove(temp))
	}
	return nil
}

// writeNew makes a file that everybody may read. The system calls are made as they
// are: package os tries to poll each file that it opens, which takes as many again.
func writeNew(path string, text []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	for len(text) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, text)
		text = text[max(n, 0):]
	}
	if err == nil {
		err = unix.Fchmod(fd, 0o644)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return errors.Join(&os.PathError{Op: "write", Path: path, Err: err}, os.Remove(path))
	}
	return nil
}

func (d stateDir) link(name, target string) error {
	path := filepath.Join(d.path, name)
	err := os.Symlink(target, path)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	temp := filepath.Join(d.path, tempPrefix+name)
	if err := errors.Join(removeFile(temp), os.Symlink(target, temp)); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// remove deletes what save and linkUnit made. A link that leads to another machine stays.
func (d stateDir) remove(m Machine) error {
	var linkErr error
	if m.Unit != "" {
		link := filepath.Join(d.path, linkPrefix+m.Unit)
		if target, err := os.Readlink(link); err == nil && target == m.Name {
			linkErr = removeFile(link)
		}
	}
	if err := errors.Join(linkErr, removeFile(filepath.Join(d.path, m.Name))); err != nil {
		return fmt.Errorf("remove state of machine %s: %w", m.Name, err)
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// load reads all machines. What cannot be read is told to problem, one error
// per file, and does not keep the others from being loaded. Temporary files of a
// killed daemon are removed.
func (d stateDir) load(problem func(error)) ([]Machine, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read state directory: %w", err)
	}
	var machines []Machine
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, tempPrefix):
			if err := removeFile(filepath.Join(d.path, name)); err != nil {
				problem(fmt.Errorf("remove leftover: %w", err))
			}
		case !entry.Type().IsRegular() || ValidName(name) != nil:
		default:
			m, err := d.loadFile(name)
			if err != nil {
				problem(err)
				continue
			}
			machines = append(machines, m)
		}
	}
	return machines, nil
}

// loadFile renames a file that it cannot understand, so that neither we nor
// other readers take it for a machine, and somebody can still look at it.
func (d stateDir) loadFile(name string) (Machine, error) {
	path := filepath.Join(d.path, name)
	f, err := os.Open(path)
	if err != nil {
		return Machine{}, fmt.Errorf("read state of machine %s: %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return Machine{}, fmt.Errorf("read state of machine %s: %w", name, err)
	}
	m, err := parseState(name, text)
	if err != nil {
		aside := filepath.Join(d.path, corruptPrefix+name)
		return Machine{}, errors.Join(fmt.Errorf("read state of machine %s, kept as %s: %w", name, aside, err),
			os.Rename(path, aside))
	}
	return m, nil
}

// sweepLinks removes the links of units to machines that are not to be kept.
func (d stateDir) sweepLinks(keep func(unit, machine string) bool) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("look for links of units: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		link := filepath.Join(d.path, entry.Name())
		unit, ok := strings.CutPrefix(entry.Name(), linkPrefix)
		if !ok {
			continue
		}
		if target, err := os.Readlink(link); err == nil && !keep(unit, target) {
			errs = append(errs, removeFile(link))
		}
	}
	return errors.Join(errs...)
}

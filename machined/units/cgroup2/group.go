package cgroup2

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/units/unitpath"
)

const eventsFile = "cgroup.events"

// gone reports whether the cgroup behind a file operation has been removed.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// populated reports whether there are processes in the cgroup or below it. One
// that has been removed has none.
func populated(dir string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, eventsFile))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into cgroup: %w", err)
	}
	return bytes.Contains(text, []byte("populated 1\n")), nil
}

// write writes into a file of the kernel, which takes it at once or not at all.
func write(dir, file, text string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// move puts a process, not its children, into the cgroup.
func move(dir string, p *machined.Process) error {
	err := write(dir, "cgroup.procs", strconv.Itoa(p.PID))
	if errors.Is(err, unix.ESRCH) || err == nil && !p.Alive() {
		// If it was alive afterwards the PID was its own when it was moved.
		err = machined.ErrNoSuchProcess
	}
	if err != nil {
		return fmt.Errorf("move process %d into cgroup: %w", p.PID, err)
	}
	return nil
}

// removeTree removes the cgroup and those below it, which must be empty.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		if gone(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for i := range dirs {
		if err := os.Remove(dirs[len(dirs)-1-i]); err != nil && !gone(err) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// kill sends sig to everything in the cgroup and below it and says how many
// processes that were. SIGKILL leaves no way to fork and escape.
func (h Hierarchy) kill(dir string, sig syscall.Signal) (sent int, err error) {
	if sig == syscall.SIGKILL {
		busy, err := populated(dir)
		if !busy || err != nil {
			return 0, err
		}
		err = write(dir, "cgroup.kill", "1")
		if !gone(err) {
			return 1, err
		}
		// Kernels before 5.14 lack the file.
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			var n int
			n, err = h.signalProcs(path, sig)
			sent += n
		}
		if gone(err) {
			return nil
		}
		return err
	})
	return sent, err
}

func (h Hierarchy) signalProcs(dir string, sig syscall.Signal) (sent int, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return 0, err
	}
	var errs []error
	for field := range bytes.FieldsSeq(text) {
		pid, err := strconv.Atoi(string(field))
		if err != nil || pid == 0 { // 0: of another PID namespace
			continue
		}
		switch err := h.signalMember(dir, pid, sig); {
		case err == nil:
			sent++
		case !errors.Is(err, machined.ErrNoSuchProcess):
			errs = append(errs, err)
		}
	}
	return sent, errors.Join(errs...)
}

// signalMember makes sure that the PID has not gone to a process elsewhere.
func (h Hierarchy) signalMember(dir string, pid int, sig syscall.Signal) (err error) {
	p, err := machined.OpenProcess(pid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	unified, _, err := unitpath.Cgroups(pid)
	if err != nil {
		return err
	}
	if now, _ := h.dir(unified); now != dir {
		return machined.ErrNoSuchProcess
	}
	return p.Signal(sig)
}

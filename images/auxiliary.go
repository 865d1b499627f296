package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
)

const (
	suffixSettings = ".nspawn"
	suffixTPM      = ".raw.tpmstate"
	suffixEFI      = ".raw.efinvramstate"
)

// auxiliarySuffixes are those of the files that lie beside an image NAME and go
// with it. The state of a TPM or of EFI variables may be a directory.
func auxiliarySuffixes() []string {
	return []string{
		suffixSettings, ".oci-config", ".roothash", ".roothash.p7s", ".usrhash", ".usrhash.p7s", ".verity",
		suffixTPM, suffixEFI,
	}
}

// auxiliary is one file that belongs to an image.
type auxiliary struct {
	dir, suffix string
	settings    bool // lies in a settings directory
}

// auxiliaries finds the files that belong to an image: beside its entry and in
// the settings directories.
func (s *Store) auxiliaries(img Image) []auxiliary {
	var all []auxiliary
	for _, dir := range s.places.Settings {
		all = append(all, auxiliary{dir, suffixSettings, true})
	}
	for _, suffix := range auxiliarySuffixes() {
		all = append(all, auxiliary{filepath.Dir(img.entry()), suffix, false})
	}
	var found []auxiliary
	for _, a := range all {
		if _, err := os.Lstat(filepath.Join(a.dir, img.Name+a.suffix)); err == nil {
			found = append(found, a)
		}
	}
	return found
}

// removeAuxiliary leaves the vendor's settings alone.
func (s *Store) removeAuxiliary(ctx context.Context, img Image) error {
	return s.eachOwn(img, func(dir *os.File, a auxiliary) error {
		return copytree.Remove(ctx, dir, img.Name+a.suffix)
	})
}

// renameAuxiliary leaves the vendor's settings alone, and files that are there
// already under the new name.
func (s *Store) renameAuxiliary(img Image, newName string) error {
	return s.eachOwn(img, func(dir *os.File, a auxiliary) error {
		return renameNew(dir, img.Name+a.suffix, newName+a.suffix)
	})
}

func (s *Store) eachOwn(img Image, do func(dir *os.File, a auxiliary) error) error {
	var errs []error
	for _, a := range s.auxiliaries(img) {
		if s.places.vendor(a.dir + "/") {
			continue
		}
		dir, err := os.OpenFile(a.dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := do(dir, a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(a.dir, img.Name+a.suffix), err))
		}
		errs = append(errs, dir.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrAuxiliary, err)
	}
	return nil
}

// copyAuxiliary copies what belongs to an image for its clone: settings within
// their directory (the vendor's to the first one), the rest to the pool. It
// returns the files that it made, also on an error.
func (s *Store) copyAuxiliary(ctx context.Context, img Image, pool, newName string) (made []string, err error) {
	for _, a := range s.auxiliaries(img) {
		to := pool
		if a.settings {
			to = a.dir
			if s.places.vendor(a.dir + "/") {
				to = s.places.Settings[0]
			}
		}
		src, dst := filepath.Join(a.dir, img.Name+a.suffix), filepath.Join(to, newName+a.suffix)
		if _, err := os.Lstat(dst); err == nil {
			continue
		}
		if err := copyAuxiliaryFile(ctx, src, to, newName+a.suffix); err != nil {
			return made, fmt.Errorf("copy %s: %w", src, err)
		}
		made = append(made, dst)
	}
	return made, nil
}

func copyAuxiliaryFile(ctx context.Context, src, dir, file string) error {
	resolved, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	p, err := NewPendingCopy(ctx, dir, resolved, nil)
	if err != nil {
		return err
	}
	if err := p.Commit(ctx, file, CommitOptions{Sync: true}); err != nil && !errors.Is(err, ErrExists) {
		return errors.Join(err, p.Discard())
	}
	return p.Discard()
}

func removeFiles(paths []string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

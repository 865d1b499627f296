package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Layers returns the directories of which a mount stack is the union, the bottom
// first. What machines have written into the stack is the last of them. The error
// wraps [ErrNotSupported] for a stack of something else.
func (i Image) Layers() (layers []string, err error) {
	if i.Type != TypeMstack {
		return nil, fmt.Errorf("image %s is no mount stack: %w", i.Name, ErrNotSupported)
	}
	names, err := entryNames(i.Path)
	if err != nil {
		return nil, fmt.Errorf("read mount stack %s: %w", i.Name, err)
	}
	slices.SortFunc(names, compareVersions)
	for _, name := range names {
		path := filepath.Join(i.Path, name)
		switch kind, _, _ := strings.Cut(name, "@"); kind {
		case "layer":
			if info, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("look at layer of mount stack %s: %w", i.Name, err)
			} else if !info.IsDir() || strings.HasSuffix(name, suffixVersioned) {
				return nil, fmt.Errorf("mount stack %s has layer %q, which is no directory: %w", i.Name, name, ErrNotSupported)
			}
			layers = append(layers, path)
		case "root":
			return nil, fmt.Errorf("mount stack %s has a root of its own: %w", i.Name, ErrNotSupported)
		}
	}
	// Its content is the machines', its own name is not.
	written := filepath.Join(i.Path, "rw", "data")
	if info, err := os.Lstat(written); err == nil && info.IsDir() {
		layers = append(layers, written)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look at what was written to mount stack %s: %w", i.Name, err)
	}
	if len(layers) == 0 {
		return nil, fmt.Errorf("mount stack %s has no layers: %w", i.Name, ErrNotFound)
	}
	return layers, nil
}

// entryNames lists a directory of few entries.
func entryNames(path string) (names []string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	names, err = f.Readdirnames(mstackMaxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return names, nil
}

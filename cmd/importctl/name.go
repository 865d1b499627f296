package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"berth/cmd/internal/importapi"
	"berth/images"
	"berth/importd"
)

// given says whether an optional argument has a value: "-" has none.
func given(args []string, n int) bool { return len(args) > n && args[n] != "" && args[n] != "-" }

// imageName turns a file name into the name of an image.
func imageName(form importapi.Form, file string) (string, error) {
	switch form {
	case importapi.FormTar:
		return images.TarName(file)
	case importapi.FormRaw:
		return images.RawName(file)
	case importapi.FormFS:
	}
	return file, images.ValidName(file)
}

// pulledName is what a pull makes: the second argument, nothing if that is "-",
// or what the URL ends with.
func pulledName(form importapi.Form, args []string) (string, error) {
	switch {
	case given(args, 1):
		return imageName(form, args[1])
	case len(args) > 1:
		return importd.NoLocal, nil
	}
	last, err := images.LastComponent(args[0])
	if err != nil {
		return "", fmt.Errorf("take the name of the image from the URL: %w; give one behind it", err)
	}
	return imageName(form, last)
}

// importedName is what an import makes: the second argument, or what the path
// ends with.
func importedName(form importapi.Form, args []string) (string, error) {
	if given(args, 1) {
		return imageName(form, args[1])
	}
	if !given(args, 0) {
		return "", errors.New("standard input has no name: give the image one")
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return "", fmt.Errorf("take the name of the image from the path: %w", err)
	}
	if path == "/" {
		return "", errors.New("the root directory has no name: give the image one")
	}
	return imageName(form, filepath.Base(path))
}

// Package disk writes disk images with holes where they are zero, reads them back without reading the holes, and turns
// qcow2 images into raw ones.
//
// The qcow2 format is that of docs/interop/qcow2.txt of QEMU, versions 2 and 3. All numbers in it are big-endian.
package disk

import "errors"

var (
	// ErrTooLarge says that an image is larger than the caller allows.
	ErrTooLarge = errors.New("disk image is too large")
	// ErrCorrupt says that a qcow2 image contradicts itself, its own length or the format.
	ErrCorrupt = errors.New("corrupt qcow2 image")
	// ErrUnsupported says that a qcow2 image uses a feature that this package has not.
	ErrUnsupported = errors.New("unsupported qcow2 feature")
	// ErrBackingFile says that a qcow2 image holds only what differs from another image, and is no disk without it.
	ErrBackingFile = errors.New("qcow2 image needs a backing file")
	// ErrEncrypted says that a qcow2 image is encrypted.
	ErrEncrypted = errors.New("qcow2 image is encrypted")
)

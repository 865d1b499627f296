package importd_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"berth/importd"

	"golang.org/x/sys/unix"
)

// streams make what an image can come through and go into besides files: two ends of
// it, the first for the transfer.
var streams = map[string]func(export bool) (theirs, ours int, err error){
	"pipe": func(export bool) (int, int, error) { return pipe(export, 0) },
	// Shells and event loops leave pipes like that.
	"pipe that does not block":   func(export bool) (int, int, error) { return pipe(export, unix.O_NONBLOCK) },
	"socket":                     func(bool) (int, int, error) { return pair(0) },
	"socket that does not block": func(bool) (int, int, error) { return pair(unix.SOCK_NONBLOCK) },
}

func pipe(export bool, flags int) (theirs, ours int, err error) {
	var fds [2]int
	err = unix.Pipe2(fds[:], unix.O_CLOEXEC|flags)
	if export {
		return fds[1], fds[0], err
	}
	return fds[0], fds[1], err
}

func pair(flags int) (theirs, ours int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	return fds[0], fds[1], err
}

// Images come and go through pipes and stream sockets, as they are told to by the
// description of the interface.
func TestStreams(t *testing.T) {
	for name, open := range streams {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			ends := func(export bool) (theirs, ours *os.File) {
				their, our, err := open(export)
				if err != nil {
					t.Fatal(err)
				}
				return os.NewFile(uintptr(their), "theirs"), os.NewFile(uintptr(our), "ours")
			}
			disk := noise(3 << 20)
			theirs, ours := ends(false)
			arrival := h.start(importd.Request{Kind: importd.ImportRaw, Local: "d", File: theirs})
			_, err := ours.Write(disk)
			if err := errors.Join(err, ours.Close(), arrival.Err()); err != nil {
				t.Fatal(err)
			}
			if h.read("d.raw") != string(disk) {
				t.Error("another disk has arrived")
			}
			theirs, ours = ends(true)
			departure := h.start(importd.Request{Kind: importd.ExportRaw, Local: "d", File: theirs})
			got, err := io.ReadAll(ours)
			if err := errors.Join(err, ours.Close(), departure.Err()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, disk) {
				t.Errorf("%d bytes have left, which are not the disk", len(got))
			}
		})
	}
}

// Package standin stands in for systemd-nsresourced and systemd-mountfsd where those cannot be had: the first one needs
// a kernel with BPF LSM. It is for tests only. What it does not do is to keep a namespace from files that it was not
// given, which is what the LSM is for.
package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"berth/cmd/internal/varlink"
)

// Host is the state of both services of a host. It needs root.
type Host struct {
	mu    sync.Mutex
	names map[string]bool
	last  uint32 // first user of the last range that was given away
}

// New returns a host whose services nobody has asked yet.
func New() *Host {
	return &Host{names: map[string]bool{}, last: firstRange}
}

// firstRange is where ranges begin, 1 GiB of user ids below the end of what is meant for them.
const firstRange = 0x20000000

// Start serves both interfaces at these sockets until stop is called; an empty one is not served. Everybody may connect.
func (h *Host) Start(ctx context.Context, namespaces, mounts string) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var mu sync.Mutex
	var ends []error
	stop = func() error {
		cancel()
		running.Wait()
		return errors.Join(ends...)
	}
	for path, add := range map[string]func(*varlink.Server) error{namespaces: h.addNamespaces, mounts: h.addMounts} {
		if path == "" {
			continue
		}
		server := varlink.NewServer(varlink.Info{Vendor: "berth", Product: "stand-in"}, varlink.Options{AcceptFDs: true, CheckReplies: true})
		if err := add(server); err != nil {
			return nil, errors.Join(err, stop())
		}
		l, err := listen(ctx, path)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		running.Go(func() {
			err := server.Serve(ctx, l)
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, err)
		})
	}
	return stop, nil
}

func listen(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// file returns a file that came with a call.
func file(call *varlink.Call, index int, parameter string) (*os.File, error) {
	files := call.FDs()
	if index < 0 || index >= len(files) {
		return nil, varlink.InvalidParameter(parameter)
	}
	if files[index] == nil {
		return nil, fmt.Errorf("file %d was taken before", index)
	}
	return files[index], nil
}

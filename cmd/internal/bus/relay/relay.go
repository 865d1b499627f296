// Package relay stands between the D-Bus library and a message bus, because the
// library must not see everything that a bus passes on: of a message with file
// descriptors in a list, such as "ah", it panics where nobody can recover, and
// descriptors that came along but are not named in the message stay open. Any
// user of the bus may send such messages to anybody.
//
// The relay passes on what is harmless as it came. A message that is not goes
// without its descriptors, and with a body that no method and no signal has.
package relay

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Open connects to the bus at an address and returns the address where the
// connection is to be had, by one caller in this process, who gets everything
// that can be sent over it. An address that is not of a Unix socket is returned
// as it is: no descriptors come from there. done is called when the caller has
// connected, or has not been able to.
func Open(address string) (at string, done func(), err error) {
	path, ok := socketOf(address)
	if !ok {
		return address, func() {}, nil
	}
	bus, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return "", nil, err
	}
	name := "berth-" + rand.Text()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@" + name})
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("relay the bus: %w", err), bus.Close())
	}
	go serve(l, bus)
	return "unix:abstract=" + name, func() { _ = l.Close() }, nil
}

// socketOf returns the socket of a D-Bus address with a single Unix socket.
func socketOf(address string) (string, bool) {
	rest, ok := strings.CutPrefix(address, "unix:")
	if !ok || strings.ContainsAny(rest, ";%") {
		return "", false
	}
	for pair := range strings.SplitSeq(rest, ",") {
		if path, ok := strings.CutPrefix(pair, "path="); ok {
			return path, true
		}
		if name, ok := strings.CutPrefix(pair, "abstract="); ok {
			return "@" + name, true
		}
	}
	return "", false
}

// serve takes the first connection of this very process: the bus knows all that
// is sent over it as ours.
func serve(l *net.UnixListener, bus *net.UnixConn) {
	defer func() { _ = bus.Close() }()
	var client *net.UnixConn
	for client == nil {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		if pid, err := peer(c); err == nil && pid == os.Getpid() {
			client = c
		} else {
			_ = c.Close()
		}
	}
	_ = l.Close()
	var wg sync.WaitGroup
	ended := func() { // either side's end is the other's
		_ = client.Close()
		_ = bus.Close()
	}
	wg.Go(func() { defer ended(); _ = up(client, bus) })
	wg.Go(func() { defer ended(); _ = down(bus, client) })
	wg.Wait()
}

func peer(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) { cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if inner != nil {
		return 0, inner
	}
	return int(cred.Pid), nil
}

// up passes on what the library sends: lines until it begins, then messages.
func up(from, to *net.UnixConn) error {
	var line []byte
	for b := make([]byte, 1); string(line) != "BEGIN\r\n"; {
		if _, err := io.ReadFull(from, b); err != nil {
			return err
		}
		if line = append(line, b[0]); b[0] != '\n' {
			continue
		}
		if _, err := to.Write(line); err != nil {
			return err
		}
		if string(line) != "BEGIN\r\n" {
			line = line[:0]
		}
	}
	for {
		m, err := readMessage(from)
		if err != nil {
			return err
		}
		if err := m.write(to); err != nil {
			return err
		}
	}
}

// down passes on what the bus sends. No line of the beginning starts as a message
// does.
func down(from, to *net.UnixConn) error {
	for {
		m, err := readMessage(from)
		if err != nil {
			return err
		}
		if m.line == nil && len(m.files) > 0 && !m.harmless() {
			if m, err = m.neutral(); err != nil {
				return err
			}
		}
		if err := m.write(to); err != nil {
			return err
		}
	}
}

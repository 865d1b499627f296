package busguard

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// maxLine is that of the reference implementation.
const maxLine = 16 << 10

// handshake passes the authentication on, line for line: one of the client, one of
// the bus in answer, until the client begins. So the guard knows the byte at which
// messages start, whatever a bus sends before it was asked. Descriptors that come
// meanwhile are closed by the kernel.
func handshake(client, bus *net.UnixConn) error {
	nul := make([]byte, 1)
	if _, err := client.Read(nul); err != nil {
		return err
	}
	if _, err := bus.Write(nul); err != nil {
		return err
	}
	for {
		line, err := passLine(client, bus)
		if err != nil {
			return fmt.Errorf("what the client says: %w", err)
		}
		if bytes.Equal(line, []byte("BEGIN\r\n")) {
			return nil
		}
		if _, err := passLine(bus, client); err != nil {
			return fmt.Errorf("what the bus says: %w", err)
		}
	}
}

// passLine reads no further than the end of the line.
func passLine(from, to *net.UnixConn) ([]byte, error) {
	var line []byte
	next := make([]byte, 1)
	for !bytes.HasSuffix(line, []byte("\n")) {
		if len(line) == maxLine {
			return nil, errors.New("line is too long")
		}
		if _, err := from.Read(next); err != nil {
			return nil, err
		}
		line = append(line, next[0])
	}
	_, err := to.Write(line)
	return line, err
}

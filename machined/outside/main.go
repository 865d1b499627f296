package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"berth/machined/nsenter"
)

// Main is the whole life of the program in the service; the result is its exit
// status.
func Main() int {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serve runs the command that standard input, a socket, asks for.
func serve() error {
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("open socket to daemon: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("open socket to daemon: it is another kind of socket")
	}
	// The only one: its end tells the daemon that this program has ended.
	if err := os.Stdin.Close(); err != nil {
		return err
	}
	r, files, err := receive(socket)
	if err != nil {
		return fmt.Errorf("receive command: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, socket) // whatever ends it
		cancel()
	}()
	replies := json.NewEncoder(socket)
	result, err := run(ctx, r, files, func() {
		_ = replies.Encode(reply{Started: true}) // who does not listen any more does not wait for it
	})
	if err != nil {
		return replies.Encode(reply{Failure: fail(err)})
	}
	return replies.Encode(reply{Ended: &result})
}

func run(ctx context.Context, r request, files []*os.File, started func()) (nsenter.Result, error) {
	spec := nsenter.Spec{
		Argv: r.Argv, Env: r.Env, User: r.User, Dir: r.Dir, Program: r.Program, Terminal: r.Terminal,
		Started: started, OwnUnit: true,
	}
	rest := files[1:]
	for i, stream := range []**os.File{&spec.Stdin, &spec.Stdout, &spec.Stderr} {
		if !r.Streams[i] {
			continue
		}
		if len(rest) == 0 {
			return nsenter.Result{}, errors.New("a standard stream was not handed over")
		}
		*stream, rest = rest[0], rest[1:]
	}
	return nsenter.Exec(ctx, nsenter.Target{PID: r.PID, PIDFD: files[0]}, spec)
}

// receive takes the request and its files, at least one.
func receive(socket *net.UnixConn) (r request, files []*os.File, err error) {
	first, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, nRights, _, _, err := socket.ReadMsgUnix(first, rights)
	if err != nil {
		return r, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:nRights])
	if err != nil || n != 1 || len(messages) != 1 {
		return r, nil, fmt.Errorf("%d messages: %w", len(messages), errors.Join(err, unix.EBADMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return r, nil, fmt.Errorf("%d files: %w", len(fds), errors.Join(err, unix.EBADMSG))
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "of the command"))
	}
	err = json.NewDecoder(io.MultiReader(bytes.NewReader(first), socket)).Decode(&r)
	return r, files, err
}

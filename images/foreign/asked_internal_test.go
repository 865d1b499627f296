package foreign

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a process that is asked, with the test on the other side of its channel.
func peer(t *testing.T, grace time.Duration, serve func(i *Inside)) *asked {
	t.Helper()
	conn, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	far, err := connOf(theirs)
	if err != nil {
		t.Fatal(err)
	}
	// It lives until it is ended: the context of a test ends before its cleanups.
	cmd := exec.CommandContext(context.Background(), "/bin/cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{Process: &Process{OS: cmd.Process, conn: conn}, ended: make(chan struct{}), grace: grace}
	served := make(chan struct{})
	go func() {
		defer close(a.ended)
		_ = cmd.Wait() // killed
	}()
	go func() {
		defer close(served)
		serve(&Inside{conn: far})
	}()
	t.Cleanup(func() {
		err := errors.Join(a.end(), far.Close())
		<-served
		_ = in.Close() // its reader is gone
		if err != nil {
			t.Error(err)
		}
	})
	return a
}

// TestAskDeafProcess: one that does not stop when it is told to is killed, and whoever asked is not kept.
func TestAskDeafProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := peer(t, time.Millisecond, func(i *Inside) {
		for {
			m, _, err := receive(i.conn)
			if err != nil {
				return
			}
			if m.Verb == verbCopy {
				cancel()
			}
		}
	})
	err := a.ask(ctx, message{Verb: verbCopy}, nil)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errSilent) {
		t.Errorf("asked in vain: %v", err)
	}
	<-a.ended
}

// TestAskStops: one that stops when it is told to can be asked again.
func TestAskStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := peer(t, time.Hour, func(i *Inside) {
		for {
			m, _, err := receive(i.conn)
			switch {
			case err != nil:
				return
			case m.Verb == verbCopy:
				cancel()
				continue
			}
			if err := send(i.conn, answer(unix.ENOSPC)); err != nil {
				t.Error(err)
			}
		}
	})
	if err := a.ask(ctx, message{Verb: verbCopy}, nil); !errors.Is(err, context.Canceled) || errors.Is(err, errSilent) {
		t.Errorf("stopped: %v", err)
	}
	if err := a.ask(t.Context(), message{Verb: verbEmpty}, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("asked again: %v", err)
	}
}

// TestAskDeadProcess: the end of the process is the end of the question.
func TestAskDeadProcess(t *testing.T) {
	a := peer(t, time.Hour, func(i *Inside) {
		_, _, _ = receive(i.conn)
		_ = i.conn.CloseWrite()
	})
	if err := a.ask(t.Context(), message{Verb: verbEmpty}, nil); err == nil {
		t.Error("no error")
	}
}

func TestCheckMap(t *testing.T) {
	good := "         0  536870912      65536\n"
	if err := checkMap([]byte(good)); err != nil {
		t.Errorf("%q: %v", good, err)
	}
	for _, bad := range []string{
		"", "0 0 65536", "0 0 4294967295", "0 1000 1", "0 65536 65536", "1 536870912 65536", "0 536870913 65536",
		"0 536870912 65537", "0 536870912 65536 1", "0 536870912 65536\n65536 0 1\n", "0 2147352576 65536", "a b c",
	} {
		if err := checkMap([]byte(bad)); !errors.Is(err, errMap) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestNobodyToAsk: without services everything is refused, and nothing panics.
func TestNobodyToAsk(t *testing.T) {
	u := NewUser(nil)
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, makeErr := u.Make(t.Context(), f, "a")
	for what, err := range map[string]error{
		"make": makeErr, "empty": u.Empty(t.Context(), f), "copy": u.Copy(t.Context(), f, f),
		"note": u.Note(t.Context(), f, nil), "hold": u.Hold(t.Context()),
	} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := u.Release(); err != nil {
		t.Error(err)
	}
}

package polkit_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"berth/cmd/internal/polkit"

	"golang.org/x/sys/unix"
)

// process starts a child of the given user and groups that waits for its end.
func process(t *testing.T, uid uint32, groups ...uint32) polkit.Subject {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts processes of other users")
	}
	cmd := exec.CommandContext(context.Background(), "/bin/cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(cmd.Process.Pid))
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), cmd.Wait(), pidfd.Close()); err != nil {
			t.Error(err)
		}
	})
	return polkit.Subject{UID: uid, PID: cmd.Process.Pid, PIDFD: pidfd}
}

func TestLocal(t *testing.T) {
	const group = 4711
	member := process(t, 65533, 1, group)
	stranger := process(t, 65532, 1)
	withoutPIDFD := member
	withoutPIDFD.PIDFD = nil
	liar := stranger
	liar.PID = member.PID
	for name, test := range map[string]struct {
		who   polkit.Subject
		group int
		ok    bool
	}{
		"root":              {polkit.Subject{UID: 0}, polkit.NoGroup, true},
		"member":            {member, group, true},
		"primary group":     {member, 65533, true},
		"stranger":          {stranger, group, false},
		"no group is set":   {member, polkit.NoGroup, false},
		"no pidfd":          {withoutPIDFD, group, false},
		"process of others": {liar, group, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := polkit.Local{Group: test.group}.Check(t.Context(), test.who, "some.action", nil, false)
			if test.ok && err != nil || !test.ok && !errors.Is(err, polkit.ErrDenied) {
				t.Errorf("got %v, want let in: %v", err, test.ok)
			}
		})
	}
}

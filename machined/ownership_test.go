package machined

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// asUser starts a sleeping process of a plain user, in a user namespace that the
// user made if asked for.
func asUser(t *testing.T, argv ...string) *Process {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root to become another user")
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: plainUser, Gid: plainUser}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestOwnership(t *testing.T) {
	plain := asUser(t, "/bin/sh", "-c", obey)
	// Root of a namespace that the user made; then another id in it, which is no
	// id of the user's on the host.
	inside := asUser(t, "unshare", "--user", "--map-root-user", "/bin/sh", "-c", obey)
	nested := asUser(t, "unshare", "--user", "--map-root-user", "unshare", "--user", "--map-root-user", "/bin/sh", "-c", obey)
	for _, p := range []*Process{plain, inside, nested} {
		if err := mayRegister(Caller{UID: plainUser}, p); err != nil {
			t.Errorf("owner: %v", err)
		}
		if err := mayRegister(Caller{UID: plainUser + 1}, p); !errors.Is(err, ErrNotOwner) {
			t.Errorf("other user: %v, want ErrNotOwner", err)
		}
		if err := mayRegister(Caller{UID: plainUser + 1, Administrator: true}, p); err != nil {
			t.Errorf("administrator: %v", err)
		}
		if err := mayRegister(Caller{UID: 0}, p); err != nil {
			t.Errorf("root: %v", err)
		}
	}
	if err := mayRegister(Caller{UID: plainUser}, sleeper(t)); !errors.Is(err, ErrNotOwner) {
		t.Errorf("process of root: %v, want ErrNotOwner", err)
	}
}

// The real uid of a process in a namespace of the user's may be any; only the
// owner of the namespace says whose it is.
func TestOwnershipByNamespaceAlone(t *testing.T) {
	p := asUser(t, "unshare", "--user", "--map-root-user", "/bin/sh", "-c", obey)
	owned, err := inNamespaceOf(p.PID, plainUser)
	if err != nil || !owned {
		t.Errorf("namespace of the user: %v, %v", owned, err)
	}
	if owned, err := inNamespaceOf(p.PID, plainUser+1); err != nil || owned {
		t.Errorf("namespace of another: %v, %v", owned, err)
	}
	if owned, err := inNamespaceOf(sleeper(t).PID, plainUser); err != nil || owned {
		t.Errorf("our own namespace: %v, %v", owned, err)
	}
	killed(t, p)
	if err := mayRegister(Caller{UID: plainUser}, p); !errors.Is(err, ErrNoSuchProcess) {
		t.Errorf("dead process: %v, want ErrNoSuchProcess", err)
	}
}

package nsenter

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoUserNamespace says that a machine has no user namespace of its own, which
// is the only way in for a caller who is not root.
var ErrNoUserNamespace = errors.New("machine has no user namespace that a plain user could enter")

// way is how a copy of the process gets into a machine.
//
// Root joins what the host's root may have made for the machine as the host's
// root, and the user namespace last. Any other user has no rights but in a user
// namespace of his own, so all namespaces are joined at once, by way of that one.
// As no thread of a Go program can join that, it is the copy which joins the pid
// namespace, and has to clone itself again to be in it.
type way struct {
	plain   bool       // the caller is not root
	thread  Namespaces // joined by the thread that clones
	first   uintptr    // joined by the copy
	user    bool       // the user namespace is joined after that
	second  bool       // the copy clones itself again
	regroup bool       // groups can be changed in there
	become  bool       // become root in there, before anything else
	clone   cloneArgs
	again   cloneArgs
}

// way leads into the given namespaces, which must be foreign ones.
func (t Target) way(kinds Namespaces) (way, error) {
	w := way{regroup: true, clone: cloneArgs{exitSignal: uint64(unix.SIGCHLD)}}
	if os.Geteuid() == 0 {
		w.thread, w.first, w.user = kinds&PID, uintptr(kinds&^(User|PID)), kinds&User != 0
		w.become = true
		return w, nil
	}
	if kinds&User == 0 {
		return way{}, fmt.Errorf("enter process %d: %w", t.PID, ErrNoUserNamespace)
	}
	w.plain, w.become = true, true
	w.first, w.second = uintptr(kinds), kinds&PID != 0
	// A child of the caller's, as the copy is: it has the same exit signal.
	w.again = cloneArgs{flags: unix.CLONE_PARENT}
	// user_namespaces(7): "deny" where a plain user has mapped just himself.
	text, err := os.ReadFile(t.proc("setgroups"))
	if err != nil {
		return way{}, fmt.Errorf("read whether groups can be set: %w", t.cause(err))
	}
	w.regroup = strings.TrimSpace(string(text)) == "allow"
	return w, t.Alive()
}

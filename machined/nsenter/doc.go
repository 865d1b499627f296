// Package nsenter enters running machines: it runs a command inside all the
// namespaces of a machine's leader, runs a function on a thread that joined
// some of them, and reads files below the leader's root without ever letting
// the host resolve a path.
//
// A machine is named by its leader's pid together with a pidfd. Namespaces are
// joined through the pidfd, and whatever is opened by way of /proc/PID is
// trusted only after the pidfd said that the leader was still alive, so that a
// recycled pid never leads into a stranger.
//
// # Why Exec forks by itself
//
// A user namespace can only be joined by a process with one thread, which no
// Go program is. nsenter(1) could do it, but cannot keep the guest's users as
// weak as the guest's own init (bounding set, supplementary groups,
// no_new_privs) and would have to be started with the guest's environment,
// where an LD_PRELOAD meant for the guest would be obeyed by a host program.
// So Exec clones the process with nothing shared, and the copy, which has one
// thread, makes a fixed row of raw system calls that ends in execve. Between
// clone and execve it allocates nothing and takes no lock.
//
// # Plain users
//
// Who is not root has rights in a machine only by way of a user namespace that he
// owns, and no thread of a Go program can join one. So what root does on a thread
// of its own ([In]) is an errand for a plain user: a row of system calls that such
// a copy makes instead of execve, with at most one descriptor as its result.
package nsenter

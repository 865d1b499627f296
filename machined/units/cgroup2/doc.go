// Package cgroup2 groups the processes of machines on hosts without a service
// manager: every unit is a directory that it makes in the cgroup v2 tree,
// machine.slice/machine-NAME.scope, the place where a service manager would
// have it. Controllers are not touched, so it works where they belong to
// version 1 (hybrid hierarchies) and in a container with a tree of its own.
//
// The kernel says in the file cgroup.events of each unit when its last process
// has ended; one inotify instance and one goroutine watch all of them. A unit
// that is empty is removed. Units outlive the daemon: [New] finds those of an
// earlier run.
package cgroup2

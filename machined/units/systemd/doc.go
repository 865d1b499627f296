// Package systemd groups the processes of machines in units of the service
// manager, with which it talks over the system bus: machine-NAME.scope in
// machine.slice for processes that run already, services for new ones.
//
// One goroutine owns the connection. It connects again when the bus was
// restarted and subscribes again when the service manager has a new connection
// of its own, as it has after it re-executed itself. Whoever calls meanwhile
// waits a moment. What was missed is asked for: units that were known are looked
// at, and so are jobs that somebody waits for.
//
// A unit that is made here is held by a reference until its end, so that the
// service manager does not forget how it ended before that was read.
package systemd

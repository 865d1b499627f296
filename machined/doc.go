// Package machined is the registry of machines: containers and virtual
// machines that run on this host. It knows no transport; D-Bus and Varlink are
// adapters over [Manager].
//
// # A machine
//
// A machine is a name and a leader, the process that is its init or its
// emulator. Whoever starts one registers it ([Manager.Register]); or it is
// started here ([Manager.Start]), through a [runner.Runner]. The one who registers is
// its supervisor unless it is the leader itself. A machine ends when its leader
// does: all leaders are watched by pidfd in a single epoll set, so a thousand
// machines cost one sleeping goroutine, and an idle daemon does nothing. Only a
// machine that owns its unit wholly is listed until that has ended too.
//
// A machine that is started here is a run from its first start to the end that is
// not a reboot. Its runner writes into a log of its own and is no worse off when
// the daemon is restarted; the next Manager takes the run up again. When a runner
// ends, whatever is left in its unit is killed, and exit status 133 starts it
// anew.
//
// A name is free again the moment its leader is dead. Register asks the kernel
// and not the table, so a dead entry never stands in the way.
//
// # Who calls whom
//
//	Start               find the image, start the runner, wait until it names the leader
//	Register            check the caller and the leader, reserve the name
//	  both: admit
//	  -> Units          put the leader into a scope, or find the unit it has
//	  -> processWatch   from here on the end of the leader is noticed
//	  -> stateDir       write the state file
//	  -> events         New
//	processWatch        the leader is dead
//	  -> Units          is there something in the unit, if that is the machine's?
//	  -> stateDir       unlink
//	  -> events         Removed
//
// One mutex guards the tables and the state files, so that the files and the
// events come in the order of what happened. Nothing that can wait runs under
// it: units are made before, and subscribers are served by a goroutine each.
//
// # Files
//
// The state directory, /run/systemd/machines, is read by sd-login,
// nss-mymachines, every "-M" switch and by the stock daemon if the host goes
// back to it. A file is written beside its target and renamed over it. Links
// "unit:UNIT" lead from a unit to the one machine in it; they exist only where
// the unit holds nothing else. A new Manager loads the directory: machines
// whose leader lives are kept without a second New event, the others are
// removed, and a file that cannot be understood is renamed so that no reader
// takes it for a machine. Keys that only we know come after the known ones:
// SUBGROUP, CGROUP, SUPERVISED (the supervisor runs just this machine) and
// MANAGED (it was started by Start).
//
// starts/NAME in the directory for what only we need notes a start that is under
// way, with its runner: the next Manager goes on with it if this one is killed.
//
// # File systems of machines
//
// They may never answer. What looks into them (copies, bind mounts, os-release,
// root directories) is done by processes of package apart, which are given up when
// nobody wants the answer any more.
//
// # Units
//
// [Units] is the seam to what groups processes: the service manager, or cgroups
// made by machined itself (packages units/systemd and units/cgroup2). A service
// manager also starts machines ([ImageStarter]). Where neither is to be had
// machines have no unit, and signals go through pidfds.
package machined

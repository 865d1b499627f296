// Package machineapi puts machined's machines and images on the wire: the
// Varlink interfaces io.systemd.Machine, io.systemd.MachineImage and
// io.berth.Machine, D-Bus org.freedesktop.machine1, and the client of
// machinectl. The wire types are here once for daemon and tool; what a machine
// is and does is in package machined.
package machineapi

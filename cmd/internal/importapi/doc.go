// Package importapi puts importd's transfers on the wire: the Varlink interfaces
// io.systemd.Import and io.berth.Import, D-Bus org.freedesktop.import1, and the
// client of importctl. The wire types are here once for daemon and tool; what a
// transfer is and does is in package importd.
package importapi

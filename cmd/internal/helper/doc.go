// Package helper is the command lines of systemd-pull, systemd-import,
// systemd-import-fs and systemd-export: one transfer in the foreground, for people,
// for systemd-sysupdate, and for an importd that starts them. The transfer itself is
// importd's, in the same confined worker.
//
// Each program is a table of verbs and options ([program]); help and
// --introspect-cli are printed from it.
package helper

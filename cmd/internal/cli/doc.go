// Package cli holds what the command-line tools have in common: options as getopt_long takes them, verbs, tables and
// their JSON, sizes and times as systemd's tools print them, a progress bar, colours, the pager, exit statuses.
//
// Nothing here knows an environment variable, a terminal or a clock of its own: all of it is given by the caller. The
// formats are those of machinectl and importctl 262; scripts read them.
package cli

package main

import (
	"context"
	"fmt"
	"io"
)

const helpText = `machinectl [OPTIONS…] COMMAND …

Show and control the machines of this host and their images.

Machine Commands:
  list                            Show the machines that run (default)
  status NAME…                    Describe machines
  show [NAME…]                    Print properties of machines, or of the pool
  start NAME…                     Start machines from the images of their names
  exec [USER@]NAME COMMAND [ARG…] Run a command in a machine
  poweroff NAME…                  Tell machines to power off (also: stop)
  reboot NAME…                    Tell machines to reboot (also: restart)
  terminate NAME…                 End machines at once
  kill NAME…                      Send a signal to processes of machines

Image Commands:
  list-images                     Show the images of machines
  image-status [NAME…]            Describe images, or the pool
  show-image [NAME…]              Print properties of images, or of the pool
  clone NAME NEWNAME              Copy an image
  rename NAME NEWNAME             Give an image another name
  read-only NAME [BOOL]           Make an image read-only, or writable again
  remove NAME…                    Remove images
  clean                           Remove hidden images, with --all all images

Images come and go with importctl(1): pull-tar, pull-raw, import-tar,
import-raw, import-fs, export-tar, export-raw, list-transfers and
cancel-transfer are passed on to it.

Not supported yet: login, shell, enable, disable, edit, cat, copy-to,
copy-from, bind, bind-volume, unbind-volume, pause, resume, set-limit.

Options for machines:
     --kill-whom=WHOM             leader, supervisor or all (default)
  -s --signal=SIGNAL              Signal to send (default: SIGTERM); list
                                  shows them
     --uid=USER                   User to run a command as (default: root)
  -E --setenv=VAR[=VALUE]         Environment variable for a command
     --working-directory=DIR      Directory in the machine to run a command in
                                  (default: the user's home)
     --runner=RUNNER              nspawn (default), or vmspawn (not yet)
  -V                              The same as --runner=vmspawn

Options for images:
     --read-only                  Make a read-only clone
     --force --verify=MODE --format=FORMAT
                                  See importctl(1)

What is shown:
  -a --all                        Hidden machines and images, and properties
                                  that are not set
  -p --property=NAME              Only these properties
     --value                      Values without the names of the properties
  -P NAME                         The same as --value --property=NAME
  -l --full                       All addresses in lists
     --max-addresses=N            At most this number of addresses in lists, or
                                  all (default: 1)
  -o --output=MODE                json and json-pretty print lists as JSON
     --json=MODE                  Lists as JSON: pretty, short or off
  -j                              Lists as JSON, pretty on a terminal
  -q --quiet                      Say less
     --no-legend                  Lists without heading and count
     --no-pager                   Lists straight to the terminal
  -h --help                       Show this text
     --version                    Show the version

For other hosts and users:
  -H --host=[USER@]HOST           Not supported yet
  -M --machine=CONTAINER          Not supported yet
     --user                       Not supported yet
     --system                     The machines of this system (default)
     --no-ask-password            Do not ask for passwords

What stands behind the name of the machine of exec belongs to the command; '--'
may stand between them. Ctrl-C ends the command.

Exit status: 0 if all went well, 1 if not. exec ends with the exit status of the
command, with 128 and more if a signal ended it; with 127 if the machine has no
such command, with 126 if the command cannot be run there, and with 125 if it
came to neither, such as when there is no such machine.
`

func (t *tool) showHelp(ctx context.Context, _ []string) error {
	return t.Page(ctx, func(w io.Writer) error {
		if _, err := io.WriteString(w, helpText); err != nil {
			return fmt.Errorf("print help: %w", err)
		}
		return nil
	})
}

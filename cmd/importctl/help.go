package main

import (
	"context"
	"fmt"
	"io"
)

const helpText = `importctl [OPTIONS…] COMMAND …

Bring images of operating systems into this host, or take them out.

Commands:
  pull-tar URL [NAME]             Download an archive of a directory tree
  pull-raw URL [NAME]             Download a disk image
  import-tar FILE [NAME]          Unpack an archive of a directory tree
  import-raw FILE [NAME]          Take a disk image
  import-fs DIRECTORY [NAME]      Copy a directory tree
  export-tar NAME [FILE]          Pack a directory tree
  export-raw NAME [FILE]          Write a disk image
  list-transfers                  Show what is on its way (default)
  cancel-transfer ID…             End transfers and remove what they made
  list-images                     Show the images of all classes
  help                            Show this text

Which images:
     --class=CLASS                machine, portable, sysext or confext
  -m                              Machines: containers and virtual machines
  -P                              Portable services
  -S                              Extensions of /usr and /opt
  -C                              Extensions of /etc

How they come and go:
     --verify=MODE                What a download must prove: no, checksum
                                  or signature (default)
     --force                      Replace an image of the same name
     --read-only                  Make the image read-only
     --keep-download=BOOL         Keep the download as it came, for the next
                                  pull of the same URL (default for machines)
  -N                              The same as --keep-download=no
     --format=FORMAT              Compression of an export: uncompressed, xz,
                                  gzip, bzip2 or zstd (default: as the suffix
                                  of FILE says)

What is shown:
  -q --quiet                      Warnings and errors only
     --json=MODE                  Lists as JSON: pretty, short or off
  -j                              Lists as JSON, pretty on a terminal
     --no-legend                  Lists without heading and count
     --no-pager                   Lists straight to the terminal
  -h --help                       Show this text
     --version                    Show the version

For other hosts and users:
  -H --host=[USER@]HOST           Not supported yet
  -M --machine=CONTAINER          Not supported yet
     --user                       Not supported yet
     --system                     The images of this system (default)
     --no-ask-password            Do not ask for passwords

'-' for FILE is standard input or output. Without NAME an image is named after
what URL, FILE or DIRECTORY ends with; pull-… URL - keeps the download only.
Ctrl-C leaves a transfer running. Exit status: 0 if all went well, 1 if not.
`

func (t *tool) showHelp(ctx context.Context, _ []string) error {
	return t.Page(ctx, func(w io.Writer) error {
		if _, err := io.WriteString(w, helpText); err != nil {
			return fmt.Errorf("print help: %w", err)
		}
		return nil
	})
}

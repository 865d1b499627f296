package helper

import (
	"context"
	"slices"

	"berth/cmd/internal/cli"

	"github.com/spf13/pflag"
)

// program is one of the helpers.
type program struct {
	name     string
	abstract string
	verbs    []verb
	// options are the names of those that the program has, in the order of its help.
	options []string
}

// verb is one thing that a program does.
type verb struct {
	name, arguments, abstract string
	run                       func(*helper, context.Context, []string) error
}

// programs are all helpers.
var programs = []program{
	{
		name: "systemd-pull", abstract: "Download images.",
		verbs: []verb{
			{"tar", "URL [NAME]", "Download an archive of a directory tree", (*helper).pullTar},
			{"raw", "URL [NAME]", "Download a disk image", (*helper).pullRaw},
			{"oci", "REF [NAME]", "Not supported yet", (*helper).pullOCI},
		},
		options: []string{
			"force", "image-root", "verify", "settings", "roothash", "roothash-signature", "verity", "read-only", "direct",
			"btrfs-subvol", "btrfs-quota", "convert-qcow2", "sync", "zero-fill", "offset", "size-max", "class", "keep-download",
		},
	},
	{
		name: "systemd-import", abstract: "Make images of archives and disk images.",
		verbs: []verb{
			{"tar", "FILE [NAME]", "Unpack an archive of a directory tree", (*helper).importTar},
			{"raw", "FILE [NAME]", "Take a disk image", (*helper).importRaw},
		},
		options: []string{
			"force", "image-root", "read-only", "direct", "btrfs-subvol", "btrfs-quota", "convert-qcow2", "sync", "zero-fill",
			"offset", "size-max", "class",
		},
	},
	{
		name: "systemd-import-fs", abstract: "Make images of directories.",
		verbs: []verb{{"run", "DIRECTORY [NAME]", "Copy a directory tree", (*helper).importFS}},
		options: []string{
			"force", "image-root", "read-only", "direct", "btrfs-subvol", "btrfs-quota", "sync", "class",
		},
	},
	{
		name: "systemd-export", abstract: "Write images to files and pipes.",
		verbs: []verb{
			{"tar", "NAME [FILE]", "Pack a directory tree", (*helper).exportTar},
			{"raw", "NAME [FILE]", "Write a disk image", (*helper).exportRaw},
		},
		options: []string{"format", "class"},
	},
}

// Is says whether a program of this name is a helper.
func Is(name string) bool {
	return slices.ContainsFunc(programs, func(p program) bool { return p.name == name })
}

func (h *helper) cliVerbs() []cli.Verb {
	verbs := []cli.Verb{{Name: "help", Max: cli.Any, Hidden: true, Run: func(context.Context, []string) error { return h.printHelp() }}}
	for _, v := range h.program.verbs {
		verbs = append(verbs, cli.Verb{
			Name: v.name, Min: 1, Max: 2,
			Run: func(ctx context.Context, args []string) error { return v.run(h, ctx, args) },
		})
	}
	return verbs
}

// flags are the options of the program, ready to be parsed.
func (h *helper) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet(h.program.name, pflag.ContinueOnError)
	for _, o := range h.programOptions() {
		flag := flags.VarPF(value{o.argument == "", o.set}, o.name, o.letter, "")
		flag.Hidden = o.help == ""
		if o.argument == "" {
			flag.NoOptDefVal = "true"
		}
	}
	return flags
}

// value is an option for pflag.
type value struct {
	bare bool
	set  func(string) error
}

var _ pflag.Value = value{}

func (v value) Set(text string) error { return v.set(text) }
func (value) String() string          { return "" }

// Type tells the parser whether an argument can be given.
func (v value) Type() string {
	if v.bare {
		return "bool"
	}
	return "value"
}

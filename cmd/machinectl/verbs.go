package main

import (
	"context"
	"fmt"

	"berth/cmd/internal/cli"
)

func (t *tool) verbs() []cli.Verb {
	verbs := []cli.Verb{
		{Name: "list", Max: 0, Default: true, Run: t.list},
		{Name: "status", Min: 1, Max: cli.Any, Run: t.status},
		{Name: "show", Max: cli.Any, Run: t.showMachines},
		{Name: "start", Min: 1, Max: cli.Any, Run: t.start},
		{Name: "exec", Min: 2, Max: cli.Any, Run: t.exec},
		{Name: "poweroff", Aliases: []string{"stop"}, Min: 1, Max: cli.Any, Run: t.each(powerOff)},
		{Name: "reboot", Aliases: []string{"restart"}, Min: 1, Max: cli.Any, Run: t.each(reboot)},
		{Name: "terminate", Min: 1, Max: cli.Any, Run: t.each(terminate)},
		{Name: "kill", Min: 1, Max: cli.Any, Run: t.each(t.kill)},
		{Name: "list-images", Max: 0, Run: t.listImages},
		{Name: "image-status", Max: cli.Any, Run: t.imageStatus},
		{Name: "show-image", Max: cli.Any, Run: t.showImages},
		{Name: "clone", Min: 2, Max: 2, Run: t.clone},
		{Name: "rename", Min: 2, Max: 2, Run: t.rename},
		{Name: "read-only", Min: 1, Max: 2, Run: t.setReadOnly},
		{Name: "remove", Min: 1, Max: cli.Any, Run: t.each(remove)},
		{Name: "clean", Max: 0, Run: t.clean},
		{Name: "help", Max: cli.Any, Run: t.showHelp},
	}
	for _, name := range forwarded {
		verbs = append(verbs, cli.Verb{Name: name, Max: cli.Any, Run: t.forward(name)})
	}
	for _, later := range notYet {
		verbs = append(verbs, cli.Verb{Name: later.name, Max: cli.Any, Hidden: true, Run: later.run})
	}
	return verbs
}

// missing is a verb of the original that this machinectl only knows by name.
type missing struct{ name, reason string }

const (
	needsPTY     = "it needs a terminal of the machine; 'machinectl exec NAME COMMAND' runs a command without one"
	needsUnits   = "it needs a service manager that starts machines at boot"
	needsNspawn  = "settings files are plain files: see /etc/systemd/nspawn/NAME.nspawn"
	needsFiles   = "files get in and out with 'machinectl exec', such as: machinectl exec NAME tar -c /etc >etc.tar"
	needsControl = "it needs a control socket, which only virtual machines have"
	needsQuota   = "sizes of images are not limited so far"
)

var notYet = []missing{
	{"login", needsPTY},
	{"shell", needsPTY},
	{"enable", needsUnits},
	{"disable", needsUnits},
	{"edit", needsNspawn},
	{"cat", needsNspawn},
	{"copy-to", needsFiles},
	{"copy-from", needsFiles},
	{"bind", "directories of the host cannot be mounted into a running machine so far"},
	{"bind-volume", needsControl},
	{"unbind-volume", needsControl},
	{"pause", needsControl},
	{"resume", needsControl},
	{"set-limit", needsQuota},
}

func (m missing) run(context.Context, []string) error {
	return fmt.Errorf("%s is not supported yet: %s", m.name, m.reason)
}

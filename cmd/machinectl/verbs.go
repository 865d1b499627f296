package main

import "berth/cmd/internal/cli"

func (t *tool) verbs() []cli.Verb {
	verbs := []cli.Verb{
		{Name: "list", Max: 0, Default: true, Run: t.list},
		{Name: "status", Min: 1, Max: cli.Any, Run: t.status},
		{Name: "show", Max: cli.Any, Run: t.showMachines},
		{Name: "start", Min: 1, Max: cli.Any, Run: t.start},
		{Name: "login", Max: 1, Run: t.login},
		{Name: "shell", Max: cli.Any, Run: t.shell},
		{Name: "exec", Min: 2, Max: cli.Any, Run: t.exec},
		{Name: "enable", Min: 1, Max: cli.Any, Run: t.enable},
		{Name: "disable", Min: 1, Max: cli.Any, Run: t.disable},
		{Name: "poweroff", Aliases: []string{"stop"}, Min: 1, Max: cli.Any, Run: t.give(orderPowerOff)},
		{Name: "reboot", Aliases: []string{"restart"}, Min: 1, Max: cli.Any, Run: t.give(orderReboot)},
		{Name: "pause", Min: 1, Max: cli.Any, Run: t.give(orderPause)},
		{Name: "resume", Min: 1, Max: cli.Any, Run: t.give(orderResume)},
		{Name: "terminate", Min: 1, Max: cli.Any, Run: t.give(orderTerminate)},
		{Name: "kill", Min: 1, Max: cli.Any, Run: t.each(t.kill)},
		{Name: "forget", Min: 1, Max: cli.Any, Run: t.each(forget)},
		{Name: "copy-to", Min: 2, Max: 3, Run: t.copyFiles(true)},
		{Name: "copy-from", Min: 2, Max: 3, Run: t.copyFiles(false)},
		{Name: "bind", Min: 2, Max: 3, Run: t.bind},
		{Name: "list-images", Max: 0, Run: t.listImages},
		{Name: "image-status", Max: cli.Any, Run: t.imageStatus},
		{Name: "show-image", Max: cli.Any, Run: t.showImages},
		{Name: "edit", Min: 1, Max: cli.Any, Run: t.edit},
		{Name: "cat", Min: 1, Max: cli.Any, Run: t.cat},
		{Name: "clone", Min: 2, Max: 2, Run: t.clone},
		{Name: "rename", Min: 2, Max: 2, Run: t.rename},
		{Name: "read-only", Min: 1, Max: 2, Run: t.setReadOnly},
		{Name: "remove", Min: 1, Max: cli.Any, Run: t.each(remove)},
		{Name: "set-limit", Min: 1, Max: 2, Run: t.setLimit},
		{Name: "clean", Max: 0, Run: t.clean},
		{Name: "bind-volume", Min: 2, Max: 2, Run: t.bindVolume},
		{Name: "unbind-volume", Min: 2, Max: 2, Run: t.unbindVolume},
		{Name: "help", Max: cli.Any, Run: t.showHelp},
	}
	for _, name := range forwarded {
		verbs = append(verbs, cli.Verb{Name: name, Max: cli.Any, Run: t.forward(name)})
	}
	return verbs
}

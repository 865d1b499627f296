package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// providersDir is where the providers of volumes listen.
const providersDir = "systemd/io.systemd.StorageProvider"

// volume is what bind-volume attaches.
type volume struct {
	provider string
	machineapi.Volume
	config string
}

// name is what the machine knows the volume by.
func (v volume) name() string { return v.provider + ":" + v.Name }

// volumeAliases are other names of keys.
var volumeAliases = map[string]string{"ro": "read-only", "create-size": "size"}

// parseVolume reads PROVIDER:VOLUME[:CONFIG][:KEY=VALUE,…].
func parseVolume(text string) (v volume, err error) {
	fields := strings.SplitN(text, ":", 4)
	if len(fields) < 2 || fields[0] == "" || fields[1] == "" {
		return v, fmt.Errorf("'%s' is not PROVIDER:VOLUME", text)
	}
	v.provider, v.Name = fields[0], fields[1]
	if strings.Contains(v.provider, "/") || strings.HasPrefix(v.provider, ".") {
		return v, fmt.Errorf("'%s' is not the name of a provider", v.provider)
	}
	if len(fields) > 2 {
		v.config = fields[2]
	}
	if len(fields) < 4 || fields[3] == "" {
		return v, nil
	}
	seen := make(map[string]bool)
	for assignment := range strings.SplitSeq(fields[3], ",") {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return v, fmt.Errorf("'%s' is not KEY=VALUE", assignment)
		}
		if long, ok := volumeAliases[key]; ok {
			key = long
		}
		if seen[key] {
			return v, fmt.Errorf("'%s' is there twice", key)
		}
		seen[key] = true
		if err := v.set(key, value); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (v *volume) set(key, value string) error {
	bad := fmt.Errorf("'%s' is no value for '%s'", value, key)
	switch key {
	case "template":
		if v.Template = value; value == "" {
			return bad
		}
	case "create":
		if v.CreateMode = value; value != "any" && value != "new" && value != "open" {
			return bad
		}
	case "read-only":
		if value == "auto" {
			return nil
		}
		on, ok := cli.ParseBool(value)
		if v.ReadOnly = &on; !ok {
			return bad
		}
	case "size":
		size, err := cli.ParseBytes(value)
		if v.Size = &size; err != nil || size == 0 {
			return bad
		}
	case "request-as":
		if v.RequestAs = value; value != "blk" && value != "reg" && value != "dir" {
			return bad
		}
	default:
		return fmt.Errorf("unknown key '%s'", key)
	}
	return nil
}

// bindVolume has a volume opened by its provider and gives it to a machine.
func (t *tool) bindVolume(ctx context.Context, args []string) error {
	v, err := parseVolume(args[1])
	if err != nil {
		return &cli.UsageError{Text: fmt.Sprintf("Invalid volume: %v.", err)}
	}
	v.Interactive = !t.NoAskPassword
	return t.Asking(ctx, func() error {
		return t.mustControl(ctx, args[0], func(i *machineapi.Instance) (err error) {
			path, err := t.runtimePath(filepath.Join(providersDir, v.provider))
			if err != nil {
				return err
			}
			file, err := machineapi.AcquireVolume(ctx, path, v.Volume)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			return i.AddStorage(ctx, file, v.name(), v.config)
		})
	})
}

// unbindVolume takes a volume away from a machine.
func (t *tool) unbindVolume(ctx context.Context, args []string) error {
	v, err := parseVolume(args[1])
	if err != nil {
		return &cli.UsageError{Text: fmt.Sprintf("Invalid volume: %v.", err)}
	}
	return t.mustControl(ctx, args[0], func(i *machineapi.Instance) error { return i.RemoveStorage(ctx, v.name()) })
}

// mustControl is controlling for what nobody else can do.
func (t *tool) mustControl(ctx context.Context, name string, do func(*machineapi.Instance) error) error {
	controlled := false
	err := t.controlling(ctx, name, func(i *machineapi.Instance) error {
		controlled = true
		return do(i)
	})
	if err != nil || controlled {
		return err
	}
	return t.connected(ctx, func(d daemon) error { return uncontrolled(ctx, d, name) })
}

// runtimePath is a path below the runtime directory of the target.
func (t *tool) runtimePath(path string) (string, error) {
	socket, err := t.Target.Runtime(machineapi.Socket)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(socket, strings.TrimPrefix(machineapi.Socket, "/run/")) + path, nil
}

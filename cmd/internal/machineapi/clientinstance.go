package machineapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"berth/cmd/internal/varlink"
)

// Orders to the software that runs a virtual machine.
const (
	InstancePowerOff  = "PowerOff"
	InstanceReboot    = "Reboot"
	InstanceTerminate = "Terminate"
	InstancePause     = "Pause"
	InstanceResume    = "Resume"
)

const instanceName = "io.systemd.MachineInstance"

// Instance talks to the software that runs a virtual machine, at the address
// that it has registered.
type Instance struct {
	name string
	conn *varlink.Client
}

// DialInstance connects to what controls a machine.
func DialInstance(ctx context.Context, name, address string) (*Instance, error) {
	path := strings.TrimPrefix(address, "unix:")
	conn, err := varlink.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to what controls machine '%s': %w", name, err)
	}
	return &Instance{name, conn}, nil
}

// Close ends the connection.
func (i *Instance) Close() error { return i.conn.Close() }

// Order has the machine do something; see [InstancePowerOff].
func (i *Instance) Order(ctx context.Context, order string) error {
	_, err := i.conn.Call(ctx, instanceName+"."+order, nil, nil)
	return i.explained(err)
}

// AddStorage attaches an open volume under a name. The config may be empty.
func (i *Instance) AddStorage(ctx context.Context, volume *os.File, name, config string) error {
	in := map[string]any{"fileDescriptorIndex": 0, "name": name}
	if config != "" {
		in["config"] = config
	}
	_, err := i.conn.Call(ctx, instanceName+".AddStorage", in, nil, volume)
	return i.explained(err)
}

// RemoveStorage detaches a volume.
func (i *Instance) RemoveStorage(ctx context.Context, name string) error {
	_, err := i.conn.Call(ctx, instanceName+".RemoveStorage", map[string]any{"name": name}, nil)
	return i.explained(err)
}

// instanceErrors are what the errors of the interface mean.
var instanceErrors = map[string]string{
	"NotConnected":       "it is not running yet, or not any more",
	"NotSupported":       "it cannot do this",
	"NoSuchStorage":      "it has no such volume",
	"StorageExists":      "it has a volume of that name already",
	"StorageImmutable":   "the volume was there when it started and stays",
	"BadConfig":          "it does not understand how the volume is to be attached",
	"ConfigNotSupported": "it cannot attach the volume in this way",
}

func (i *Instance) explained(err error) error {
	if e, ok := errors.AsType[*varlink.Error](err); ok {
		if text := instanceErrors[strings.TrimPrefix(e.Name, instanceName+".")]; text != "" {
			return fmt.Errorf("machine '%s': %s", i.name, text)
		}
		return fmt.Errorf("machine '%s': %w", i.name, explained(i.name, err))
	}
	return err
}

// Volume is a volume to have from a provider; what is empty is left to it.
type Volume struct {
	Name string `json:"name"`
	// CreateMode is any, new or open.
	CreateMode string `json:"createMode,omitempty"`
	Template   string `json:"template,omitempty"`
	ReadOnly   *bool  `json:"readOnly,omitempty"`
	// RequestAs is blk, reg or dir.
	RequestAs   string  `json:"requestAs,omitempty"`
	Size        *uint64 `json:"createSizeBytes,omitempty"`
	Interactive bool    `json:"allowInteractiveAuthentication,omitempty"`
}

// AcquireVolume opens a volume of the provider that listens at path.
func AcquireVolume(ctx context.Context, path string, v Volume) (_ *os.File, err error) {
	conn, err := varlink.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to the provider of volume '%s': %w", v.Name, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var out struct{ FileDescriptorIndex int }
	files, err := conn.Call(ctx, "io.systemd.StorageProvider.Acquire", v, &out)
	if err != nil {
		return nil, fmt.Errorf("open volume '%s': %w", v.Name, explained("", err))
	}
	if i := out.FileDescriptorIndex; i < 0 || i >= len(files) {
		return nil, errors.Join(fmt.Errorf("open volume '%s': its provider sent none", v.Name), closeFiles(files))
	} else if i > 0 || len(files) > 1 {
		files[0], files[i] = files[i], files[0]
		return files[0], closeFiles(files[1:])
	}
	return files[0], nil
}

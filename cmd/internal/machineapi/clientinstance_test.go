package machineapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

const instanceInterface = `interface io.systemd.MachineInstance
method PowerOff() -> ()
method Pause() -> ()
method AddStorage(fileDescriptorIndex: int, name: string, config: ?string) -> ()
method RemoveStorage(name: string) -> ()
error NoSuchStorage()
error NotConnected()
`

const providerInterface = `interface io.systemd.StorageProvider
method Acquire(name: string, createMode: ?string, readOnly: ?bool, createSizeBytes: ?int,
  allowInteractiveAuthentication: ?bool) -> (fileDescriptorIndex: int)
error NoSuchVolume()
`

// instance is the software behind a virtual machine, and a provider of volumes.
type instance struct {
	mu  sync.Mutex
	got []string
}

func (i *instance) note(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, text)
}

func (i *instance) noted() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.got, ",")
}

func (i *instance) order(_ context.Context, call *varlink.Call) error {
	i.note(call.Method())
	if strings.HasSuffix(call.Method(), "Pause") {
		return &varlink.Error{Name: "io.systemd.MachineInstance.NotConnected"}
	}
	return call.Reply(nil)
}

func (i *instance) addStorage(_ context.Context, call *varlink.Call) error {
	var in struct {
		Name   string `json:"name"`
		Config string `json:"config"`
		Index  int    `json:"fileDescriptorIndex"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	text, err := io.ReadAll(call.FDs()[in.Index])
	i.note(in.Name + " " + in.Config + " " + string(text))
	return errors.Join(err, call.Reply(nil))
}

func (i *instance) removeStorage(context.Context, *varlink.Call) error {
	return &varlink.Error{Name: "io.systemd.MachineInstance.NoSuchStorage"}
}

func (i *instance) acquire(_ context.Context, call *varlink.Call) error {
	var in machineapi.Volume
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.Name != "vol" || in.CreateMode != "new" || in.Size == nil || *in.Size != 5 || in.ReadOnly != nil {
		return &varlink.Error{Name: "io.systemd.StorageProvider.NoSuchVolume"}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = w.WriteString("bytes")
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return errors.Join(call.Reply(map[string]int{"fileDescriptorIndex": 0}, r), r.Close())
}

func (i *instance) serve(t *testing.T) (socket string) {
	t.Helper()
	server := varlink.NewServer(varlink.Info{}, varlink.Options{AcceptFDs: true, CheckReplies: true})
	for description, methods := range map[string]map[string]varlink.Handler{
		instanceInterface: {"PowerOff": i.order, "Pause": i.order, "AddStorage": i.addStorage, "RemoveStorage": i.removeStorage},
		providerInterface: {"Acquire": i.acquire},
	} {
		if err := server.Handle(description, methods); err != nil {
			t.Fatal(err)
		}
	}
	socket = filepath.Join(t.TempDir(), "control")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestControlSocket(t *testing.T) {
	var i instance
	socket := i.serve(t)
	c, err := machineapi.DialInstance(t.Context(), "vm", "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.Order(t.Context(), machineapi.InstancePowerOff); err != nil {
		t.Error(err)
	}
	if err := c.Order(t.Context(), machineapi.InstancePause); err == nil || err.Error() != "machine 'vm': it is not running yet, or not any more" {
		t.Errorf("pause: %v", err)
	}
	if err := c.RemoveStorage(t.Context(), "fs:vol"); err == nil || err.Error() != "machine 'vm': it has no such volume" {
		t.Errorf("remove a volume: %v", err)
	}
	size := uint64(5)
	volume, err := machineapi.AcquireVolume(t.Context(), socket, machineapi.Volume{Name: "vol", CreateMode: "new", Size: &size})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.AddStorage(t.Context(), volume, "fs:vol", "virtio"), volume.Close()); err != nil {
		t.Error(err)
	}
	if _, err := machineapi.AcquireVolume(t.Context(), socket, machineapi.Volume{Name: "other"}); err == nil {
		t.Error("a volume that is not there was opened")
	}
	if got := i.noted(); got != "io.systemd.MachineInstance.PowerOff,io.systemd.MachineInstance.Pause,fs:vol virtio bytes" {
		t.Errorf("it got %q", got)
	}
}

func TestWhatOnlyAClientSees(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	if err := h.register(map[string]any{"name": "vm", "class": "vm", "leader": h.leader(), "controlAddress": "/run/control"}); err != nil {
		t.Fatal(err)
	}
	if ours, err := h.client.Offers(t.Context()); !ours || err != nil {
		t.Errorf("our own machined is not known: %v", err)
	}
	if got, err := h.client.ControlAddress(t.Context(), "vm"); got != "/run/control" || err != nil {
		t.Errorf("control address %q, %v", got, err)
	}
	gone, err := h.client.Removal(t.Context(), "vm")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	given, err := h.client.Removal(ctx, "vm")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-given
	select {
	case <-gone:
		t.Error("the machine is gone before its time")
	default:
	}
	if err := h.client.Kill(t.Context(), "vm", machined.KillLeader, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-gone
	if _, err := h.client.Removal(t.Context(), "none"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("wait for nobody: %v", err)
	}
}

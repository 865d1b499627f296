package machineapi

import (
	"context"
	"errors"
	"iter"
	"os"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

// machines are the methods of io.systemd.Machine.
type machines struct {
	*Service
	bootID string
}

func (s machines) unregister(ctx context.Context, call *varlink.Call) error {
	return s.change(ctx, call, "unregister", s.Manager.Find, s.Manager.Unregister)
}

func (s machines) terminate(ctx context.Context, call *varlink.Call) error {
	return s.change(ctx, call, "terminate", s.Manager.FindToEnd, s.Manager.Terminate)
}

// change does one thing to a machine on behalf of somebody who may manage it.
func (s machines) change(
	ctx context.Context, call *varlink.Call, verb string,
	find func(name string) (machined.Machine, error), do func(ctx context.Context, name string) error,
) error {
	var in lookup
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.findBy(ctx, call, in, find)
	if err != nil {
		return err
	}
	if err := s.authorizeOwner(ctx, call, m, actionManageMachines, verb, in.Interactive); err != nil {
		return err
	}
	return wireError(do(m.Pin(ctx), m.Name))
}

func (s machines) kill(ctx context.Context, call *varlink.Call) error {
	var in struct {
		lookup
		Whom   machined.KillWhom `json:"whom"`
		Signal int               `json:"signal"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.Signal <= 0 || in.Signal > 64 {
		return varlink.InvalidParameter("signal")
	}
	if in.Whom == "" {
		in.Whom = machined.KillAll
	}
	m, err := s.find(ctx, call, in.lookup)
	if err != nil {
		return err
	}
	if err := s.authorizeOwner(ctx, call, m, actionManageMachines, "kill", in.Interactive); err != nil {
		return err
	}
	return wireError(s.Manager.Kill(m.Pin(ctx), m.Name, in.Whom, syscall.Signal(in.Signal)))
}

func (s machines) list(ctx context.Context, call *varlink.Call) error {
	var in struct {
		lookup
		Acquire string `json:"acquireMetadata"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	inspect := in.Acquire == "yes" || in.Acquire == "graceful"
	if inspect {
		about := details(named(in.Name), "get_os_release")
		if err := s.authorize(ctx, call, actionInspectMachines, about, in.Interactive); err != nil {
			return err
		}
	}
	all := s.Manager.List()
	if in.named() {
		m, err := s.find(ctx, call, in.lookup)
		if err != nil {
			return err
		}
		all = []machined.Machine{m}
	}
	var replies iter.Seq2[Machine, error] = func(yield func(Machine, error) bool) {
		for _, m := range all {
			w := machineOnWire(m, s.bootID)
			var err error
			if inspect {
				err = s.inspect(m.Pin(ctx), &w, in.Acquire == "graceful")
			}
			if errors.Is(err, machined.ErrNoSuchMachine) && !in.named() {
				continue // it has ended meanwhile
			}
			if !yield(w, wireError(err)) || err != nil {
				return
			}
		}
	}
	return varlink.ReplyEach(call, replies, noSuchMachine())
}

// named is what polkit's question calls a name that was not given.
func named(name *string) string {
	if name == nil {
		return "n/a"
	}
	return *name
}

// inspect adds what is read inside a machine. With graceful set, what cannot be
// read is left out.
func (s machines) inspect(ctx context.Context, w *Machine, graceful bool) error {
	addresses, err := s.Manager.Addresses(ctx, w.Name)
	if err := missing(err, machined.ErrNoPrivateNetworking, "NoPrivateNetworking", graceful); err != nil {
		return err
	}
	for _, a := range addresses {
		w.Addresses = append(w.Addresses, addressOnWire(a))
	}
	release, err := s.Manager.OSRelease(ctx, w.Name)
	if err := missing(err, os.ErrNotExist, "NoOSReleaseInformation", graceful); err != nil {
		return err
	}
	w.OSRelease = assignments(release)
	shift, err := s.Manager.UIDShift(ctx, w.Name)
	if err == nil {
		w.UIDShift = &shift
	}
	return missing(err, machined.ErrNotSupported, "NoUIDShift", graceful)
}

// missing names the error of a piece that a machine does not have, as opposed to
// one that cannot be told of such machines.
func missing(err, none error, name string, graceful bool) error {
	switch {
	case err == nil, graceful:
		return nil
	case errors.Is(err, none):
		return &varlink.Error{Name: machineName + "." + name}
	case errors.Is(err, machined.ErrNotSupported):
		return &varlink.Error{Name: machineName + ".NotAvailable"}
	}
	return err
}

func addressOnWire(a machined.Address) Address {
	w := Address{Ifindex: a.Interface, Family: syscall.AF_INET}
	if a.IP.Is6() {
		w.Family = syscall.AF_INET6
	}
	for _, b := range a.IP.AsSlice() {
		w.Address = append(w.Address, int(b))
	}
	return w
}

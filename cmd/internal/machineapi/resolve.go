package machineapi

import (
	"context"
	_ "embed" // the interface description
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

//go:embed io.systemd.Resolve.Hook.varlink
var resolveInterface string

// ResolveSocket is where systemd-resolved finds the host names of machines.
const ResolveSocket = "/run/systemd/resolve.hook/" + machineName

// ResolveHook adds the interface for systemd-resolved to a server of its own.
func (s *Service) ResolveHook(server *varlink.Server) error {
	err := server.Handle(resolveInterface, map[string]varlink.Handler{
		"QueryFilter": s.queryFilter, "ResolveRecord": s.resolveRecord,
	})
	if err != nil {
		return fmt.Errorf("serve host names over Varlink: %w", err)
	}
	return nil
}

// resolved are the machines whose names are host names. A user who may register
// his own processes must not get to say where everybody's "www.example.com" is,
// so only root's machines are.
func (s *Service) resolved() map[string]machined.Machine {
	found := map[string]machined.Machine{}
	for _, m := range s.Manager.List() {
		if m.Class != machined.ClassHost && m.UID == 0 && isHostName(m.Name) {
			found[m.Name] = m
		}
	}
	return found
}

type hostNameFilter struct {
	Domains []string `json:"filterDomains"`
}

func (s *Service) hostNames() hostNameFilter {
	filter := hostNameFilter{Domains: []string{}} // null would mean all names
	machines := s.resolved()
	for _, m := range s.Manager.List() {
		if _, ok := machines[m.Name]; ok {
			filter.Domains = append(filter.Domains, m.Name)
		}
	}
	return filter
}

// queryFilter keeps a client that asked for more up to date until it leaves.
func (s *Service) queryFilter(ctx context.Context, call *varlink.Call) error {
	if !call.More() {
		return call.Reply(s.hostNames())
	}
	changed := make(chan struct{}, 1)
	cancel := s.Manager.Subscribe(func(machined.Event) {
		select {
		case changed <- struct{}{}:
		default: // what is sent next has this change too
		}
	})
	defer cancel()
	for {
		if err := call.Continue(s.hostNames()); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxQuestions is more than a name has ways to be written and kinds of addresses.
const maxQuestions = 64

// dnsAnswer is the reply to ResolveRecord. Without a code the question is left
// to others.
type dnsAnswer struct {
	Code   *int         `json:"rcode,omitempty"`
	Answer *[]dnsRecord `json:"answer,omitempty"`
}

func (s *Service) resolveRecord(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Question []struct {
			Key dnsKey `json:"key"`
		} `json:"question"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if n := len(in.Question); n == 0 || n > maxQuestions {
		return varlink.InvalidParameter("question")
	}
	r := resolution{machines: s.resolved(), addresses: s.Manager.Addresses, done: map[string]bool{}, records: []dnsRecord{}}
	for _, q := range in.Question {
		if err := r.ask(ctx, q.Key); err != nil {
			return err
		}
	}
	return call.Reply(r.answer())
}

// resolution collects the answer to one question, which may have several keys.
type resolution struct {
	machines  map[string]machined.Machine
	addresses func(ctx context.Context, machine string) ([]machined.Address, error)
	done      map[string]bool // addresses that are in records already
	records   []dnsRecord
	found     bool // a key names a machine
	below     bool // a key names something below a machine
}

func (r *resolution) ask(ctx context.Context, key dnsKey) error {
	name := strings.TrimSuffix(key.Name, ".")
	if len(name) > maxHostName {
		return nil // and none of its many parts is looked at
	}
	for parent := name; !r.below; {
		_, rest, ok := strings.Cut(parent, ".")
		if !ok {
			break
		}
		parent = rest
		_, r.below = r.machine(parent)
	}
	machine, ok := r.machine(name)
	if !ok {
		return nil
	}
	r.found = true
	once := fmt.Sprintf("%s %d", machine, key.Type)
	if !key.isAddress() || r.done[once] {
		return nil
	}
	r.done[once] = true
	list, err := r.addresses(ctx, machine)
	if err != nil {
		return addressError(err)
	}
	for _, a := range list {
		if dnsType(a.IP) == key.Type {
			r.records = append(r.records, addressRecord(machine, a.IP))
		}
	}
	return nil
}

// machine finds a machine by its host name, which other than its name may be
// written in capitals.
func (r *resolution) machine(host string) (name string, ok bool) {
	if _, ok := r.machines[host]; ok {
		return host, true
	}
	for name := range r.machines {
		if strings.EqualFold(name, host) {
			return name, true
		}
	}
	return "", false
}

// answer says that there is nothing below machines: whoever asks further would
// only tell the network their names.
func (r *resolution) answer() dnsAnswer {
	success, none := dnsSuccess, dnsNoDomain
	switch {
	case r.found:
		return dnsAnswer{Code: &success, Answer: &r.records}
	case r.below:
		return dnsAnswer{Code: &none}
	}
	return dnsAnswer{}
}

// addressError has systemd-resolved go on as if nothing was here.
func addressError(err error) error {
	switch {
	case errors.Is(err, machined.ErrNoPrivateNetworking):
		return varlink.SystemError(fmt.Errorf("%w (%w)", err, syscall.ENONET))
	case errors.Is(err, machined.ErrNotSupported):
		return varlink.SystemError(fmt.Errorf("%w (%w)", err, syscall.EOPNOTSUPP))
	case errors.Is(err, machined.ErrNoSuchMachine), errors.Is(err, machined.ErrNoSuchProcess):
		return varlink.SystemError(fmt.Errorf("%w (%w)", err, syscall.ESRCH))
	}
	return err
}

func dnsType(ip netip.Addr) uint16 {
	if ip.Is4() {
		return dnsA
	}
	return dnsAAAA
}

package machineapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"berth/machined"
)

// hosts are the machines and addresses of TestResolution.
var hosts = map[string][]string{"foo": {"10.0.0.1", "10.0.0.2", "fd00::1"}, "a.b": {"10.0.0.9"}, "Big": {}}

func fakeAddresses(_ context.Context, machine string) ([]machined.Address, error) {
	if machine == "vm" {
		return nil, machined.ErrNotSupported
	}
	var list []machined.Address
	for _, ip := range hosts[machine] {
		list = append(list, machined.Address{IP: netip.MustParseAddr(ip)})
	}
	return list, nil
}

func TestResolution(t *testing.T) {
	const a1 = `{"rr":{"key":{"class":1,"type":1,"name":"foo"},"address":[10,0,0,1]},"raw":"A2ZvbwAAAQABAAAAAAAECgAAAQ=="}`
	const a2 = `{"rr":{"key":{"class":1,"type":1,"name":"foo"},"address":[10,0,0,2]},"raw":"A2ZvbwAAAQABAAAAAAAECgAAAg=="}`
	const aaaa = `{"rr":{"key":{"class":1,"type":28,"name":"foo"},"address":[253,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]},` +
		`"raw":"A2ZvbwAAHAABAAAAAAAQ/QAAAAAAAAAAAAAAAAAAAQ=="}`
	const dotted = `{"rr":{"key":{"class":1,"type":1,"name":"a.b"},"address":[10,0,0,9]},"raw":"AWEBYgAAAQABAAAAAAAECgAACQ=="}`
	for _, c := range []struct{ question, want string }{
		{`[{"type":1,"name":"foo"}]`, `{"rcode":0,"answer":[` + a1 + `,` + a2 + `]}`},
		{`[{"class":1,"type":28,"name":"foo."}]`, `{"rcode":0,"answer":[` + aaaa + `]}`},
		{`[{"type":28,"name":"FOO"},{"type":1,"name":"a.b"}]`, `{"rcode":0,"answer":[` + aaaa + `,` + dotted + `]}`},
		{`[{"type":1,"name":"a.b"},{"type":1,"name":"A.B"},{"type":1,"name":"a.b."}]`, `{"rcode":0,"answer":[` + dotted + `]}`},
		{`[{"type":28,"name":"a.b"}]`, `{"rcode":0,"answer":[]}`},
		{`[{"type":16,"name":"foo"}]`, `{"rcode":0,"answer":[]}`},
		{`[{"class":3,"type":1,"name":"foo"}]`, `{"rcode":0,"answer":[]}`},
		{`[{"type":1,"name":"x.foo"}]`, `{"rcode":3}`},
		{`[{"type":1,"name":"x.y.a.b"}]`, `{"rcode":3}`},
		{`[{"type":1,"name":"x.foo"},{"type":1,"name":"a.b"}]`, `{"rcode":0,"answer":[` + dotted + `]}`},
		{`[{"type":1,"name":"b"}]`, `{}`},
		{`[{"type":1,"name":"foo.x"}]`, `{}`},
		{`[{"type":1,"name":""},{"type":1,"name":"."},{"type":1,"name":".."}]`, `{}`},
		{`[{"type":1,"name":".foo"}]`, `{"rcode":3}`},
		{`[{"type":1,"name":"` + strings.Repeat("x.", 125) + `foo."}]`, `{"rcode":3}`},
		{`[{"type":1,"name":"` + strings.Repeat("x.", 126) + `foo"}]`, `{}`},
	} {
		var keys []dnsKey
		if err := json.Unmarshal([]byte(c.question), &keys); err != nil {
			t.Fatal(err)
		}
		r := resolution{machines: map[string]machined.Machine{}, addresses: fakeAddresses, done: map[string]bool{}, records: []dnsRecord{}}
		for name := range hosts {
			r.machines[name] = machined.Machine{Name: name}
		}
		for _, key := range keys {
			if err := r.ask(t.Context(), key); err != nil {
				t.Errorf("%s: %v", c.question, err)
			}
		}
		if got, _ := json.Marshal(r.answer()); string(got) != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.question, got, c.want)
		}
	}
}

func TestResolutionOfMachinesWithoutAddresses(t *testing.T) {
	r := resolution{machines: map[string]machined.Machine{"vm": {Name: "vm"}}, addresses: fakeAddresses, done: map[string]bool{}}
	if err := r.ask(t.Context(), dnsKey{Type: dnsA, Name: "vm"}); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("error %v", err)
	}
	if err := r.ask(t.Context(), dnsKey{Type: 16, Name: "vm"}); err != nil {
		t.Errorf("a record that is no address: %v", err)
	}
}

func TestHostNamesFitIntoMessages(t *testing.T) {
	if !isHostName(strings.Repeat("x", 63)) || isHostName(strings.Repeat("x", 64)) {
		t.Error("labels of 63 bytes are the longest")
	}
}

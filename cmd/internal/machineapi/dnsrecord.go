package machineapi

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Numbers of DNS (RFC 1035, RFC 3596).
const (
	dnsClassIN = 1

	dnsA    uint16 = 1
	dnsAAAA uint16 = 28

	dnsSuccess  = 0
	dnsNoDomain = 3
)

// dnsKey says which records are meant.
type dnsKey struct {
	Class *uint16 `json:"class,omitempty"`
	Type  uint16  `json:"type"`
	Name  string  `json:"name"`
}

func (k dnsKey) isAddress() bool {
	return (k.Class == nil || *k.Class == dnsClassIN) && (k.Type == dnsA || k.Type == dnsAAAA)
}

// dnsRecord is a record in both of its forms. Raw becomes Base64.
type dnsRecord struct {
	RR struct {
		Key     dnsKey `json:"key"`
		Address []int  `json:"address"`
	} `json:"rr"`
	Raw []byte `json:"raw"`
}

const (
	// maxLabel is the length of a part of a host name; machines may have longer ones.
	maxLabel = 63
	// maxHostName is the length of a host name without the dot at its end.
	maxHostName = 253
)

func isHostName(machine string) bool {
	for label := range strings.SplitSeq(machine, ".") {
		if len(label) > maxLabel {
			return false
		}
	}
	return true
}

// addressRecord makes the record of an address. It must not be kept: its time to
// live is 0.
func addressRecord(name string, ip netip.Addr) dnsRecord {
	class := uint16(dnsClassIN)
	bytes := ip.AsSlice()
	var r dnsRecord
	r.RR.Key = dnsKey{Class: &class, Type: dnsType(ip), Name: name}
	for _, b := range bytes {
		r.RR.Address = append(r.RR.Address, int(b))
	}
	for label := range strings.SplitSeq(name, ".") {
		r.Raw = append(append(r.Raw, byte(len(label))), label...)
	}
	r.Raw = append(r.Raw, 0)
	r.Raw = binary.BigEndian.AppendUint16(r.Raw, r.RR.Key.Type)
	r.Raw = binary.BigEndian.AppendUint16(r.Raw, class)
	r.Raw = binary.BigEndian.AppendUint32(r.Raw, 0)
	r.Raw = binary.BigEndian.AppendUint16(r.Raw, uint16(len(bytes)))
	r.Raw = append(r.Raw, bytes...)
	return r
}

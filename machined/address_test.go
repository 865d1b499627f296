package machined

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// addressMessage is what the kernel says of one address of interface 5, after
// the header.
func addressMessage(family, flags, scope byte, attributes ...[]byte) syscall.NetlinkMessage {
	data := binary.NativeEndian.AppendUint32([]byte{family, 24, flags, scope}, 5)
	for _, a := range attributes {
		data = append(data, a...)
	}
	return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}, Data: data}
}

func attribute(kind uint16, value ...byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = append(binary.NativeEndian.AppendUint16(out, kind), value...)
	return append(out, make([]byte, -len(out)&3)...)
}

func TestParseAddress(t *testing.T) {
	one, two := []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}
	for name, c := range map[string]struct {
		message syscall.NetlinkMessage
		want    string // empty: not to be listed
	}{
		"plain":          {addressMessage(unix.AF_INET, 0, 0, attribute(unix.IFA_ADDRESS, one...)), "192.0.2.1"},
		"own end":        {addressMessage(unix.AF_INET, 0, 0, attribute(unix.IFA_LOCAL, two...), attribute(unix.IFA_ADDRESS, one...)), "192.0.2.2"},
		"tentative":      {addressMessage(unix.AF_INET, unix.IFA_F_TENTATIVE, 0, attribute(unix.IFA_ADDRESS, one...)), ""},
		"deprecated":     {addressMessage(unix.AF_INET, unix.IFA_F_DEPRECATED, 0, attribute(unix.IFA_ADDRESS, one...)), ""},
		"in long flags":  {addressMessage(unix.AF_INET, 0, 0, attribute(unix.IFA_ADDRESS, one...), attribute(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, unix.IFA_F_DEPRECATED)...)), ""},
		"scope host":     {addressMessage(unix.AF_INET, 0, unix.RT_SCOPE_HOST, attribute(unix.IFA_ADDRESS, one...)), ""},
		"scope nowhere":  {addressMessage(unix.AF_INET, 0, unix.RT_SCOPE_NOWHERE, attribute(unix.IFA_ADDRESS, one...)), ""},
		"scope link":     {addressMessage(unix.AF_INET, 0, unix.RT_SCOPE_LINK, attribute(unix.IFA_ADDRESS, one...)), "192.0.2.1"},
		"another family": {addressMessage(unix.AF_BRIDGE, 0, 0, attribute(unix.IFA_ADDRESS, one...)), ""},
		"no address":     {addressMessage(unix.AF_INET, 0, 0), ""},
		"odd length":     {addressMessage(unix.AF_INET, 0, 0, attribute(unix.IFA_ADDRESS, 1, 2, 3)), ""},
		"cut short":      {syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}, Data: []byte{2, 24}}, ""},
	} {
		got, ok := parseAddress(c.message)
		if ok != (c.want != "") || ok && (got.IP != netip.MustParseAddr(c.want) || got.Interface != 5) {
			t.Errorf("%s: %+v, %v, want %q", name, got, ok, c.want)
		}
	}
}

func TestSortAddresses(t *testing.T) {
	address := func(scope uint8, index int, ip string) scoped {
		return scoped{Address: Address{Interface: index, IP: netip.MustParseAddr(ip)}, scope: scope}
	}
	got := sortAddresses([]scoped{
		address(253, 1, "fe80::1"), address(0, 3, "2001:db8::1"), address(253, 1, "169.254.0.1"),
		address(0, 3, "192.0.2.9"), address(0, 2, "192.0.2.10"), address(0, 3, "192.0.2.9"), address(0, 3, "192.0.2.8"),
	})
	want := []string{"192.0.2.10", "192.0.2.8", "192.0.2.9", "169.254.0.1", "2001:db8::1", "fe80::1"}
	if len(got) != len(want) {
		t.Fatalf("addresses %v, want %v", got, want)
	}
	for i, a := range got {
		if a.IP.String() != want[i] {
			t.Errorf("address %d is %s, want %s", i, a.IP, want[i])
		}
	}
}

func TestTakeAddressesOfAnError(t *testing.T) {
	refused := int32(-int(unix.EPERM))
	message := syscall.NetlinkMessage{
		Header: syscall.NlMsghdr{Type: unix.NLMSG_ERROR},
		Data:   binary.NativeEndian.AppendUint32(nil, uint32(refused)),
	}
	if _, _, err := takeAddresses([]syscall.NetlinkMessage{message}); err != unix.EPERM { //nolint:errorlint // as the kernel says it
		t.Errorf("error %v", err)
	}
}

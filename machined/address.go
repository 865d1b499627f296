package machined

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/machined/nsenter"
)

// Address is an address of a machine.
type Address struct {
	// Interface is the index of the interface that has it, within the machine.
	Interface int
	IP        netip.Addr
}

// maxAddresses bounds what is taken from a machine, whose root may configure as
// many as he likes.
const maxAddresses = 4096

// Addresses lists where a machine can be reached: every address of its network
// namespace that is neither tentative nor deprecated nor limited to the machine
// itself; IPv4 first, then the wider scope first. A container that has no
// network namespace of its own is [ErrNoPrivateNetworking].
func (m *Manager) Addresses(ctx context.Context, name string) (list []Address, err error) {
	err = m.enter(ctx, name, func(machine Machine, t nsenter.Target) error {
		foreign, err := t.Foreign()
		if err != nil {
			return err
		}
		if machine.Class != ClassHost && foreign&nsenter.Net == 0 {
			return ErrNoPrivateNetworking
		}
		socket, err := t.Socket(ctx, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink socket: %w", err)
		}
		defer socket.Close() //nolint:errcheck // nothing was written
		list, err = dumpAddresses(int(socket.Fd()))
		return err
	})
	return list, err
}

// scoped is an address with what it is sorted by.
type scoped struct {
	Address
	scope uint8
}

func dumpAddresses(socket int) ([]Address, error) {
	if err := requestAddresses(socket); err != nil {
		return nil, fmt.Errorf("ask for addresses: %w", err)
	}
	var found []scoped
	buf := make([]byte, 64<<10) // the kernel's largest answer to a dump is 32 KiB
	for len(found) < maxAddresses {
		n, err := unix.Read(socket, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		more, done, err := takeAddresses(messages)
		if err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		found = append(found, more...)
		if done {
			break
		}
	}
	return sortAddresses(found), nil
}

// requestAddresses sends the request of rtnetlink(7) for all addresses: a
// nlmsghdr and an ifaddrmsg without family.
func requestAddresses(socket int) error {
	const size = unix.SizeofNlMsghdr + unix.SizeofIfAddrmsg
	request := make([]byte, size)
	binary.NativeEndian.PutUint32(request[0:], size)
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_GETADDR)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return unix.Sendto(socket, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// takeAddresses takes the wanted addresses out of one answer; done says that it
// was the last.
func takeAddresses(messages []syscall.NetlinkMessage) (found []scoped, done bool, err error) {
	for _, message := range messages {
		switch message.Header.Type {
		case unix.NLMSG_DONE:
			return found, true, nil
		case unix.NLMSG_ERROR:
			if len(message.Data) < 4 {
				return nil, false, unix.EPROTO
			}
			return nil, false, syscall.Errno(-int32(binary.NativeEndian.Uint32(message.Data)))
		case unix.RTM_NEWADDR:
			if address, ok := parseAddress(message); ok {
				found = append(found, address)
			}
		}
	}
	return found, false, nil
}

// parseAddress reads an ifaddrmsg and its attributes, and drops what is not to
// be listed.
func parseAddress(message syscall.NetlinkMessage) (scoped, bool) {
	if len(message.Data) < unix.SizeofIfAddrmsg {
		return scoped{}, false
	}
	family, flags, scope := message.Data[0], uint32(message.Data[2]), message.Data[3]
	attributes, err := syscall.ParseNetlinkRouteAttr(&message)
	if err != nil || (family != unix.AF_INET && family != unix.AF_INET6) {
		return scoped{}, false
	}
	var ip, local netip.Addr
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.IFA_ADDRESS: // on a point-to-point link the other end
			ip, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_FLAGS: // all 32 of them
			if len(a.Value) >= 4 {
				flags = binary.NativeEndian.Uint32(a.Value)
			}
		}
	}
	if local.IsValid() {
		ip = local
	}
	unusable := flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_TENTATIVE) != 0
	if !ip.IsValid() || unusable || scope >= unix.RT_SCOPE_HOST {
		return scoped{}, false
	}
	index := int(binary.NativeEndian.Uint32(message.Data[4:]))
	return scoped{Address: Address{Interface: index, IP: ip}, scope: scope}, true
}

func sortAddresses(found []scoped) []Address {
	slices.SortFunc(found, func(a, b scoped) int {
		return cmp.Or(
			cmp.Compare(a.IP.BitLen(), b.IP.BitLen()),
			cmp.Compare(a.scope, b.scope),
			cmp.Compare(a.Interface, b.Interface),
			a.IP.Compare(b.IP),
		)
	})
	list := make([]Address, 0, len(found))
	for _, f := range slices.Compact(found) {
		list = append(list, f.Address)
	}
	return list
}

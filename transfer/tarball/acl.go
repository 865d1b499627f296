package tarball

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// POSIX ACLs travel as text in archives and as this attribute's value in the kernel: a version, then tag, permissions
// and id of each entry, sorted (linux/posix_acl_xattr.h, acl(5)).
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"

	aclVersion = 2
	aclNoID    = 0xffffffff
)

// The tags in the order in which the kernel wants them.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// parseACL turns text into the attribute's value. Entries that name a user or group without a number are dropped and
// counted: names mean nothing outside the image. mode gives what the text leaves out.
func parseACL(text string, mode uint32) (value []byte, dropped int, err error) {
	var entries []aclEntry
	for line := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		entry, ok, err := parseACLEntry(line)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			dropped++
			continue
		}
		entries = append(entries, entry)
	}
	return formatACLValue(completeACL(entries, mode)), dropped, nil
}

// parseACLEntry reads "TAG:QUALIFIER:PERM", star's "TAG:QUALIFIER:PERM:ID", or "TAG:PERM" for the tags without one.
func parseACLEntry(line string) (e aclEntry, ok bool, err error) {
	fields := strings.Split(line, ":")
	var qualifier, perm string
	switch len(fields) {
	case 2:
		perm = fields[1]
	case 3, 4:
		qualifier, perm = fields[1], fields[2]
	default:
		return e, false, fmt.Errorf("%w: ACL entry %q", ErrFormat, line)
	}
	if len(fields) == 4 && fields[3] != "" {
		qualifier = fields[3]
	}
	if e.perm, ok = parsePerm(perm); !ok {
		return e, false, fmt.Errorf("%w: ACL entry %q", ErrFormat, line)
	}
	named := qualifier != ""
	e.id = aclNoID
	switch tag := fields[0]; {
	case (tag == "user" || tag == "u") && named:
		e.tag = aclUser
	case tag == "user" || tag == "u":
		e.tag = aclUserObj
	case (tag == "group" || tag == "g") && named:
		e.tag = aclGroup
	case tag == "group" || tag == "g":
		e.tag = aclGroupObj
	case tag == "mask" || tag == "m":
		e.tag, named = aclMask, false
	case tag == "other" || tag == "o":
		e.tag, named = aclOther, false
	default:
		return e, false, fmt.Errorf("%w: ACL entry %q", ErrFormat, line)
	}
	if !named {
		return e, true, nil
	}
	id, err := strconv.ParseUint(qualifier, 10, 32)
	e.id = uint32(id)
	return e, err == nil && e.id != aclNoID, nil //nolint:nilerr // a name; see parseACL
}

func parsePerm(s string) (perm uint16, ok bool) {
	for _, c := range s {
		switch c {
		case 'r':
			perm |= 4
		case 'w':
			perm |= 2
		case 'x':
			perm |= 1
		case '-':
		default:
			return 0, false
		}
	}
	return perm, true
}

// completeACL adds the entries that the kernel insists on, removes doubles and sorts.
func completeACL(entries []aclEntry, mode uint32) []aclEntry {
	group := uint16(mode>>3) & 7
	mask := group
	var have uint16
	for _, e := range entries {
		have |= e.tag
		if e.tag == aclGroupObj {
			group = e.perm
		}
		if e.tag == aclUser || e.tag == aclGroup {
			mask |= e.perm
		}
	}
	add := func(tag, perm uint16) {
		if have&tag == 0 {
			entries = append(entries, aclEntry{tag: tag, perm: perm, id: aclNoID})
		}
	}
	add(aclUserObj, uint16(mode>>6)&7)
	add(aclGroupObj, group)
	add(aclOther, uint16(mode)&7)
	if have&(aclUser|aclGroup) != 0 {
		add(aclMask, mask|group)
	}
	slices.SortStableFunc(entries, func(a, b aclEntry) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id))
	})
	return slices.CompactFunc(entries, func(a, b aclEntry) bool { return a.tag == b.tag && a.id == b.id })
}

// dropACLEntries leaves out the entries of an ACL for users and groups from limit on, and counts them. A value in an
// unknown form stays as it is, for the kernel to refuse.
func dropACLEntries(value []byte, limit uint32) (kept []byte, dropped int) {
	if len(value) < 4 || len(value)%8 != 4 {
		return value, 0
	}
	kept = value[:4:4]
	for rest := value[4:]; len(rest) > 0; rest = rest[8:] {
		tag, id := binary.LittleEndian.Uint16(rest), binary.LittleEndian.Uint32(rest[4:])
		if (tag == aclUser || tag == aclGroup) && id >= limit {
			dropped++
			continue
		}
		kept = append(kept, rest[:8]...)
	}
	return kept, dropped
}

func formatACLValue(entries []aclEntry) []byte {
	value := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range entries {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, e.perm)
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value
}

// formatACL turns the attribute's value into text with numeric ids.
func formatACL(value []byte) (string, error) {
	if len(value) < 4 || len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != aclVersion {
		return "", fmt.Errorf("ACL of %d bytes in an unknown form", len(value))
	}
	var out []byte
	for value = value[4:]; len(value) > 0; value = value[8:] {
		tag := binary.LittleEndian.Uint16(value)
		perm := binary.LittleEndian.Uint16(value[2:])
		if (tag == aclUser || tag == aclGroup) && binary.LittleEndian.Uint32(value[4:]) == aclNoID {
			continue // of a user that does not exist in this user namespace
		}
		id := strconv.FormatUint(uint64(binary.LittleEndian.Uint32(value[4:])), 10)
		if len(out) > 0 {
			out = append(out, ',')
		}
		switch tag {
		case aclUserObj:
			out = append(out, "user::"...)
		case aclUser:
			out = append(out, "user:"+id+":"...)
		case aclGroupObj:
			out = append(out, "group::"...)
		case aclGroup:
			out = append(out, "group:"+id+":"...)
		case aclMask:
			out = append(out, "mask::"...)
		case aclOther:
			out = append(out, "other::"...)
		default:
			return "", fmt.Errorf("ACL entry with the unknown tag %#x", tag)
		}
		for i, c := range []byte("rwx") {
			if perm&(4>>i) == 0 {
				c = '-'
			}
			out = append(out, c)
		}
	}
	return string(out), nil
}

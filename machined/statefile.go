package machined

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The first line of every state file.
const stateHeader = "# This is private data. Do not parse.\n"

// formatState writes the state file of m: the keys of the stock daemon in its
// order, then ours. The stock daemon reads SUBGROUP, which it does not write,
// and skips keys that it does not know.
func formatState(m Machine) []byte {
	var b bytes.Buffer
	b.WriteString(stateHeader)
	fmt.Fprintf(&b, "NAME=%s\nUID=%d\n", m.Name, m.UID)
	writeText(&b, "SCOPE", m.Unit)
	writeText(&b, "SERVICE", m.Service)
	writeText(&b, "ROOT", m.RootDirectory)
	if m.ID != [16]byte{} {
		fmt.Fprintf(&b, "ID=%s\n", hex.EncodeToString(m.ID[:]))
	}
	writeProcess(&b, "LEADER", m.Leader)
	writeProcess(&b, "SUPERVISOR", m.Supervisor)
	fmt.Fprintf(&b, "CLASS=%s\nREALTIME=%d\nMONOTONIC=%d\n", m.Class, m.Realtime, m.Monotonic)
	if len(m.NetworkInterfaces) > 0 {
		// The space before the first number is what readers are used to.
		b.WriteString(`NETIF="`)
		for _, index := range m.NetworkInterfaces {
			b.WriteString(" " + strconv.Itoa(index))
		}
		b.WriteString("\"\n")
	}
	if m.VSockCID != 0 {
		fmt.Fprintf(&b, "VSOCK_CID=%d\n", m.VSockCID)
	}
	writeText(&b, "SSH_ADDRESS", m.SSHAddress)
	writeText(&b, "SSH_PRIVATE_KEY_PATH", m.SSHPrivateKeyPath)
	writeText(&b, "CONTROL_ADDRESS", m.ControlAddress)
	writeText(&b, "SUBGROUP", m.Subgroup)
	writeText(&b, "CGROUP", m.cgroup)
	if m.supervised {
		b.WriteString("SUPERVISED=yes\n")
	}
	if m.managed {
		b.WriteString("MANAGED=yes\n")
	}
	return b.Bytes()
}

func writeProcess(b *bytes.Buffer, key string, id ProcessID) {
	if id.PID == 0 {
		return
	}
	fmt.Fprintf(b, "%s=%d\n", key, id.PID)
	if id.PIDFDID != 0 {
		fmt.Fprintf(b, "%s_PIDFDID=%d\n", key, id.PIDFDID)
	}
}

const (
	needEscape = "\"\\`$"
	needQuotes = needEscape + "*?['()<>|&;!#~ \t\n\r"
)

// writeText writes a value the way a shell reads it, nothing if it is empty.
func writeText(b *bytes.Buffer, key, value string) {
	if value == "" {
		return
	}
	b.WriteString(key + "=")
	if !strings.ContainsAny(value, needQuotes) {
		b.WriteString(value + "\n")
		return
	}
	b.WriteByte('"')
	for i := range len(value) {
		if strings.IndexByte(needEscape, value[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	b.WriteString("\"\n")
}

package bus

import (
	"fmt"
	"strings"

	"berth/machined"
)

// remote is another host, and a container there or none.
type remote struct{ user, address, port, container string }

// parseRemote reads [USER@]HOST[:PORT][/CONTAINER]. HOST may be an IPv6 address
// in brackets. HOST:CONTAINER is an old form. Nothing in it means anything to the
// shell of the other host.
func parseRemote(text string) (remote, error) {
	var r remote
	bad := fmt.Errorf("'%s' is not [USER@]HOST[:PORT][/CONTAINER]", text)
	rest, container, inside := strings.Cut(text, "/")
	user, address, given := strings.Cut(rest, "@")
	if !given {
		user, address = "", rest
	}
	r.user, r.container = user, container
	six := strings.HasPrefix(address, "[")
	after := ""
	if six {
		var closed bool
		if r.address, after, closed = strings.Cut(address[1:], "]"); !closed {
			return r, bad
		}
	} else {
		colon := strings.IndexByte(address+":", ':')
		r.address, after = address[:colon], address[colon:]
	}
	port, numbered := strings.CutPrefix(after, ":")
	switch digits := strings.Trim(port, "0123456789") == ""; {
	case digits && (port != "") == numbered:
		r.port = port
	case numbered && !inside:
		r.container, inside = port, true
	default:
		return r, bad
	}
	if r.address == "" || given && user == "" || strings.Contains(address, "@") || inside && machined.ValidName(r.container) != nil {
		return r, bad
	}
	return r, nil
}

// sshCommand is the command line that ends at the bus of another host. What
// stands in host never becomes an option of ssh. The program is ssh if empty.
func sshCommand(host, program string, user bool) ([]string, error) {
	r, err := parseRemote(host)
	if err != nil {
		return nil, err
	}
	if program == "" {
		program = "ssh"
	}
	args := []string{program, "-xT"}
	if r.port != "" {
		args = append(args, "-p", r.port)
	}
	address := r.address
	if r.user != "" {
		address = r.user + "@" + address
	}
	args = append(args, "--", address, "systemd-stdio-bridge")
	if r.container != "" {
		args = append(args, "--machine="+r.container)
	}
	if user {
		args = append(args, "--user")
	}
	return args, nil
}

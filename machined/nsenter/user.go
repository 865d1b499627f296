package nsenter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ErrUnknownUser says that the guest's /etc/passwd does not have the user.
var ErrUnknownUser = errors.New("no such user in the machine")

// maxDatabase bounds the guest's passwd and group files.
const maxDatabase = 16 << 20

// Account is a user of the guest, numbers as seen inside its user namespace.
type Account struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // supplementary, GID not repeated
	Home     string
	Shell    string
}

// LookupAccount finds an account by name or number in the guest's own /etc/passwd
// and /etc/group; the host's name services are never asked. An empty name means
// root. Root exists even where the guest has no passwd file.
func LookupAccount(root *os.File, name string) (Account, error) {
	if name == "" {
		name = "root"
	}
	passwd, err := ReadFile(root, "/etc/passwd", maxDatabase)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Account{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	user, ok := findUser(passwd, name)
	if !ok {
		if name != "root" && name != "0" {
			return Account{}, fmt.Errorf("look up user %q: %w", name, ErrUnknownUser)
		}
		user = Account{Name: "root", Home: "/root", Shell: "/bin/sh"}
	}
	group, err := ReadFile(root, "/etc/group", maxDatabase)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Account{}, fmt.Errorf("look up groups of user %q: %w", name, err)
	}
	user.Groups = findGroups(group, user)
	return user, nil
}

// Found is what [Exec] needs of the files of a machine.
type Found struct {
	Account Account
	// Container is what the leader's environment calls the kind of container.
	Container string
	// Null is the machine's own /dev/null, nil if it is not needed.
	Null *os.File
}

// Find looks for the account of a command, as [LookupAccount] does, and for the
// null device if null is set, which is the caller's to close. It takes as long as
// the machine's file systems like.
func (t Target) Find(user string, null bool) (_ Found, err error) {
	root, err := t.Root()
	if err != nil {
		return Found{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var f Found
	if f.Account, err = LookupAccount(root, user); err != nil {
		return Found{}, err
	}
	// Memory, which may be that of a file.
	if f.Container, err = t.containerName(); err != nil || !null {
		return f, err
	}
	f.Null, err = openNull(root)
	return f, err
}

// findUser searches passwd(5) text. A name wins over a number.
func findUser(passwd []byte, name string) (Account, bool) {
	number, isNumber := parseID(name)
	var byNumber Account
	found := false
	for line := range bytes.Lines(passwd) {
		user, ok := parseUser(line)
		if !ok {
			continue
		}
		if user.Name == name {
			return user, true
		}
		if isNumber && !found && user.UID == number {
			byNumber, found = user, true
		}
	}
	return byNumber, found
}

func parseUser(line []byte) (Account, bool) {
	fields := strings.Split(strings.TrimRight(string(line), "\n"), ":")
	// Lines that begin with + or - are directives to a name service.
	if len(fields) != 7 || fields[0] == "" || strings.ContainsAny(fields[0][:1], "+-#") || strings.Contains(string(line), "\x00") {
		return Account{}, false
	}
	uid, okU := parseID(fields[2])
	gid, okG := parseID(fields[3])
	if !okU || !okG {
		return Account{}, false
	}
	user := Account{Name: fields[0], UID: uid, GID: gid, Home: fields[5], Shell: fields[6]}
	if !strings.HasPrefix(user.Home, "/") {
		user.Home = "/"
	}
	if !strings.HasPrefix(user.Shell, "/") {
		user.Shell = "/bin/sh"
	}
	return user, true
}

// maxGroups is the kernel's NGROUPS_MAX.
const maxGroups = 65536

// findGroups searches group(5) text for the groups that list the user.
func findGroups(group []byte, user Account) []uint32 {
	var gids []uint32
	for line := range bytes.Lines(group) {
		fields := strings.Split(strings.TrimRight(string(line), "\n"), ":")
		if len(fields) != 4 || !slices.Contains(strings.Split(fields[3], ","), user.Name) {
			continue
		}
		gid, ok := parseID(fields[2])
		if ok && gid != user.GID {
			gids = append(gids, gid)
		}
	}
	slices.Sort(gids)
	gids = slices.Compact(gids)
	return gids[:min(len(gids), maxGroups)]
}

// parseID parses a uid or gid. The two values that mean "none" in the 16 and 32
// bit system calls are not ids.
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<16-1 || n == 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

package machined

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxEnvironment is how many variables a shell may be given.
const MaxEnvironment = 16384

// ErrTooManyVariables means that a request has more than [MaxEnvironment].
var ErrTooManyVariables = errors.New("too many environment variables")

// checkUser takes what may be the name of a user by some machine's rules, or a
// number. Whether the user is there the machine knows.
func checkUser(name string) error {
	bad := name == "" || name == "." || name == ".." || name[0] == '-' || strings.TrimSpace(name) != name ||
		!utf8.ValidString(name) || strings.ContainsAny(name, ":/") || strings.ContainsFunc(name, unicode.IsControl)
	if strings.Trim(name, "0123456789") == "" {
		n, err := strconv.ParseUint(name, 10, 32)
		bad = err != nil || n == 1<<16-1 || n == 1<<32-1 || strconv.FormatUint(n, 10) != name
	}
	if bad {
		return fmt.Errorf("%w: user name %q", ErrInvalidArgument, name)
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkEnvironment takes assignments of valid names, each once.
func checkEnvironment(env []string) error {
	if len(env) > MaxEnvironment {
		return fmt.Errorf("%w: %d", ErrTooManyVariables, len(env))
	}
	seen := make(map[string]bool, len(env))
	for _, assignment := range env {
		name, value, ok := strings.Cut(assignment, "=")
		control := func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }
		if !ok || !variableName.MatchString(name) || !utf8.ValidString(value) || strings.ContainsFunc(value, control) || seen[name] {
			return fmt.Errorf("%w: environment variable %q", ErrInvalidArgument, assignment)
		}
		seen[name] = true
	}
	return nil
}

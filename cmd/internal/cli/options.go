package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// UsageError is a command line that makes no sense. Its text is a whole sentence for the user.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// ParseOptions sets the flags from a command line as getopt_long does and returns the positional arguments: options may
// stand anywhere before "--", be bundled, and be shortened to what is unique. A flag that takes no argument is one with
// NoOptDefVal; where it is a boolean, none can be given. If stop is not nil, it is asked after each positional argument
// whether all that follows is positional too.
func ParseOptions(flags *pflag.FlagSet, args []string, stop func(positional []string) bool) ([]string, error) {
	p := optionParser{flags: flags, rest: args}
	var positional []string
	for len(p.rest) > 0 {
		arg := p.rest[0]
		p.rest = p.rest[1:]
		var err error
		switch {
		case arg == "--":
			return append(positional, p.rest...), nil
		case strings.HasPrefix(arg, "--"):
			err = p.long(arg[2:])
		case len(arg) > 1 && arg[0] == '-':
			err = p.short(arg[1:])
		default:
			positional = append(positional, arg)
			if stop != nil && stop(positional) {
				return append(positional, p.rest...), nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return positional, nil
}

type optionParser struct {
	flags *pflag.FlagSet
	rest  []string
}

func (p *optionParser) long(text string) error {
	name, value, given := strings.Cut(text, "=")
	flag, err := p.find(name)
	if err != nil {
		return err
	}
	option := "--" + flag.Name
	switch {
	case given && flag.NoOptDefVal != "" && flag.Value.Type() == "bool":
		return usage("Option '%s' takes no argument.", option)
	case given:
	case flag.NoOptDefVal != "":
		value = flag.NoOptDefVal
	default:
		if value, err = p.argument(option); err != nil {
			return err
		}
	}
	return p.set(flag, option, value)
}

// find returns the flag of that name, or the only one whose name begins so. Hidden flags cannot be shortened.
func (p *optionParser) find(name string) (*pflag.Flag, error) {
	if flag := p.flags.Lookup(name); flag != nil && name != "" {
		return flag, nil
	}
	var found []*pflag.Flag
	p.flags.VisitAll(func(f *pflag.Flag) {
		if name != "" && !f.Hidden && strings.HasPrefix(f.Name, name) {
			found = append(found, f)
		}
	})
	switch len(found) {
	case 0:
		return nil, usage("Unknown option '--%s'.", name)
	case 1:
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = "--" + f.Name
	}
	slices.Sort(names)
	return nil, usage("Option '--%s' can mean %s.", name, strings.Join(names, " or "))
}

func (p *optionParser) short(letters string) error {
	for letters != "" {
		letter := letters[:1]
		letters = letters[1:]
		var flag *pflag.Flag
		if letter[0] < 0x80 {
			flag = p.flags.ShorthandLookup(letter)
		}
		if flag == nil {
			return usage("Unknown option '-%s'.", strings.ToValidUTF8(letter, "?"))
		}
		option, value := "-"+letter, flag.NoOptDefVal
		if value == "" {
			value, letters = letters, ""
			if value == "" {
				var err error
				if value, err = p.argument(option); err != nil {
					return err
				}
			}
		}
		if err := p.set(flag, option, value); err != nil {
			return err
		}
	}
	return nil
}

// argument takes the next word, whatever it looks like.
func (p *optionParser) argument(option string) (string, error) {
	if len(p.rest) == 0 {
		return "", usage("Option '%s' needs an argument.", option)
	}
	value := p.rest[0]
	p.rest = p.rest[1:]
	return value, nil
}

func (p *optionParser) set(flag *pflag.Flag, option, value string) error {
	if err := flag.Value.Set(value); err != nil {
		return usage("Invalid argument '%s' of option '%s': %v.", value, option, err)
	}
	flag.Changed = true
	return nil
}

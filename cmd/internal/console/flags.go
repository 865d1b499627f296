package console

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Action is what an option without argument does.
type Action func() error

var _ pflag.Value = Action(nil)

// Set runs the action.
func (a Action) Set(string) error { return a() }

func (Action) String() string { return "" }

// Type tells the parser that no argument can be given.
func (Action) Type() string { return "bool" }

// Letter adds an option that has no long name.
func Letter(flags *pflag.FlagSet, letter string, do Action) {
	// No option on the command line can be called so: a name ends before "=".
	flag := flags.VarPF(do, "="+letter, letter, "")
	flag.NoOptDefVal, flag.Hidden = "true", true
}

// Checked is an option value that a function reads.
type Checked func(text string) error

var _ pflag.Value = Checked(nil)

// Set reads the value.
func (c Checked) Set(text string) error { return c(text) }

func (Checked) String() string { return "" }

// Type is the name of the kind of value.
func (Checked) Type() string { return "value" }

// Choice picks a word of a list; "help" prints the list.
func Choice[T ~string](c *Console, text string, list ...T) (T, error) {
	if text == "help" {
		c.Listed = true
		for _, word := range list {
			fmt.Fprintln(c.Stdout, word)
		}
		return "", nil
	}
	if !slices.Contains(list, T(text)) {
		words := make([]string, len(list))
		for i, word := range list {
			words[i] = string(word)
		}
		return "", fmt.Errorf("it must be one of %s", strings.Join(words, ", "))
	}
	return T(text), nil
}

package cli

import (
	"context"
	"slices"
)

// Any is the maximum of a verb that takes any number of arguments.
const Any = -1

// Verb is one command of a tool.
type Verb struct {
	Name    string
	Aliases []string
	// Min and Max bound the number of arguments behind the verb. Max may be [Any].
	Min, Max int
	// Default is what is run when no verb is given.
	Default bool
	// Hidden verbs are never suggested.
	Hidden bool
	Run    func(ctx context.Context, args []string) error
}

// FindVerb returns the verb that the positional arguments begin with and its own arguments, or a [UsageError].
func FindVerb(verbs []Verb, args []string) (Verb, []string, error) {
	index := slices.IndexFunc(verbs, func(v Verb) bool {
		if len(args) == 0 {
			return v.Default
		}
		return v.Name == args[0] || slices.Contains(v.Aliases, args[0])
	})
	switch {
	case index < 0 && len(args) == 0:
		return Verb{}, nil, usage("Command verb required.")
	case index < 0:
		if near := Suggest(args[0], verbNames(verbs)); near != "" {
			return Verb{}, nil, usage("Unknown command verb '%s', did you mean '%s'?", args[0], near)
		}
		return Verb{}, nil, usage("Unknown command verb '%s'.", args[0])
	}
	v := verbs[index]
	if len(args) > 0 {
		args = args[1:]
	}
	if len(args) < v.Min {
		return Verb{}, nil, usage("Too few arguments.")
	}
	if v.Max != Any && len(args) > v.Max {
		return Verb{}, nil, usage("Too many arguments.")
	}
	return v, args, nil
}

func verbNames(verbs []Verb) (names []string) {
	for _, v := range verbs {
		if !v.Hidden {
			names = append(append(names, v.Name), v.Aliases...)
		}
	}
	return names
}

// maxDistance is how many letters a suggestion may be away, and maxWord how long a word is looked at.
const (
	maxDistance = 5
	maxWord     = 64
)

// Suggest returns the word of a list that is nearest to the one given, "" if none is near.
func Suggest(word string, list []string) string {
	if len(word) > maxWord {
		return ""
	}
	best, near := maxDistance+1, ""
	for _, candidate := range list {
		if d := distance(word, candidate); d < best && d < max(len(candidate), 2) {
			best, near = d, candidate
		}
	}
	return near
}

// distance counts the letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

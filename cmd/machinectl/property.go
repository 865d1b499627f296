package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// property is one line of show.
type property struct{ name, value string }

// formatProperties writes values as people read them.
func formatProperties(list []machineapi.Property, zone *time.Location) []property {
	out := make([]property, len(list))
	for i, p := range list {
		out[i] = property{p.Name, formatProperty(p, zone)}
	}
	return out
}

func formatProperty(p machineapi.Property, zone *time.Location) string {
	switch value := p.Value.(type) {
	case string:
		return value
	case bool:
		if value {
			return "yes"
		}
		return "no"
	case []byte:
		return hex.EncodeToString(value)
	case []int32:
		words := make([]string, len(value))
		for i, n := range value {
			words[i] = strconv.Itoa(int(n))
		}
		return strings.Join(words, " ")
	case uint32:
		if p.Name == "UID" && value == math.MaxUint32 {
			return "[not set]"
		}
		return strconv.FormatUint(uint64(value), 10)
	case uint64:
		return formatNumber(p.Name, value, zone)
	}
	return fmt.Sprint(p.Value)
}

// formatNumber is empty for a moment that is not known.
func formatNumber(name string, n uint64, zone *time.Location) string {
	switch {
	case strings.HasSuffix(name, "Timestamp"):
		if n == 0 || n > math.MaxInt64 {
			return ""
		}
		return cli.FormatTime(time.UnixMicro(int64(n)), zone)
	case n == math.MaxUint64 && (name == "Limit" || name == "LimitExclusive"):
		return "infinity"
	}
	return strconv.FormatUint(n, 10)
}

// printProperties writes those that were asked for, or all that are set, in the
// order of the list.
func (t *tool) printProperties(w io.Writer, list []property) error {
	for _, p := range list {
		if !t.wanted(p) {
			continue
		}
		text := p.name + "=" + p.value
		if strings.ContainsFunc(p.value, func(r rune) bool { return r < ' ' }) {
			text = p.name + "=[unprintable]"
		}
		if t.value {
			text = text[len(p.name)+1:]
		}
		if _, err := fmt.Fprintln(w, cli.Printable(text)); err != nil {
			return fmt.Errorf("print property: %w", err)
		}
	}
	return nil
}

// wanted understands NAME and NAME=VALUE, which prints the property only if it
// has that value.
func (t *tool) wanted(p property) bool {
	if len(t.properties) == 0 {
		return p.value != "" || t.all
	}
	return slices.Contains(t.properties, p.name) || slices.Contains(t.properties, p.name+"="+p.value)
}

// objects prints several lists of properties with a blank line between them.
func (t *tool) objects(w io.Writer, lists [][]property) error {
	for i, list := range lists {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return fmt.Errorf("print property: %w", err)
			}
		}
		if err := t.printProperties(w, list); err != nil {
			return err
		}
	}
	return nil
}

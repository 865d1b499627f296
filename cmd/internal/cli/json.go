package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// JSON is a way to write JSON, an option value of the tools.
type JSON string

// What --json= takes.
const (
	JSONOff    JSON = "off"
	JSONShort  JSON = "short"
	JSONPretty JSON = "pretty"
)

// Set makes *JSON a flag value.
func (j *JSON) Set(text string) error {
	switch JSON(text) {
	case JSONOff, JSONShort, JSONPretty:
		*j = JSON(text)
		return nil
	}
	return fmt.Errorf("it must be one of pretty, short, off")
}

func (j *JSON) String() string { return string(*j) }

// Type is the name of the kind of value in help texts.
func (j *JSON) Type() string { return "MODE" }

// JSON writes the table as an array of objects, their keys in the order of the columns.
func (t *Table) JSON(w io.Writer, mode JSON) error {
	var out bytes.Buffer
	out.WriteByte('[')
	for i, row := range t.rows {
		if i > 0 {
			out.WriteByte(',')
		}
		for j, column := range t.Columns {
			key := column.Key
			if key == "" {
				key = strings.ToLower(column.Name)
			}
			out.WriteByte("{,"[min(j, 1)])
			if err := encode(&out, key); err != nil {
				return err
			}
			out.WriteByte(':')
			if err := encode(&out, row[j].Value); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	}
	out.WriteByte(']')
	return writeJSON(w, out.Bytes(), mode)
}

// PrintJSON writes any value.
func PrintJSON(w io.Writer, value any, mode JSON) error {
	var out bytes.Buffer
	if err := encode(&out, value); err != nil {
		return err
	}
	return writeJSON(w, out.Bytes(), mode)
}

// encode appends compact JSON in which only what must be is escaped.
func encode(out *bytes.Buffer, value any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("encode JSON: %w", err)
	}
	out.Truncate(out.Len() - 1) // its newline
	return nil
}

func writeJSON(w io.Writer, compact []byte, mode JSON) error {
	if mode == JSONPretty {
		compact = indent(compact)
	}
	if _, err := w.Write(append(compact, '\n')); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// indent breaks compact JSON into lines as systemd does: tabs, a blank on both sides of a colon, [] and {} in one line.
func indent(compact []byte) []byte {
	var out bytes.Buffer
	depth, quoted := 0, false
	line := func() {
		out.WriteByte('\n')
		out.WriteString(strings.Repeat("\t", depth))
	}
	for i := 0; i < len(compact); i++ {
		c := compact[i]
		switch {
		case quoted:
			out.WriteByte(c)
			if c == '\\' {
				i++
				out.WriteByte(compact[i])
			}
			quoted = c != '"'
		case (c == '[' || c == '{') && compact[i+1] != c+2: // the closing one comes two later in ASCII
			depth++
			out.WriteByte(c)
			line()
		case (c == ']' || c == '}') && compact[i-1] != c-2:
			depth--
			line()
			out.WriteByte(c)
		case c == ',':
			out.WriteByte(c)
			line()
		case c == ':':
			out.WriteString(" : ")
		default:
			out.WriteByte(c)
			quoted = c == '"'
		}
	}
	return out.Bytes()
}

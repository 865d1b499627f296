package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Column is one column of a table.
type Column struct {
	// Name is the heading, in capitals.
	Name string
	// Key is the name in JSON, the heading in lower case if empty.
	Key string
	// Right aligns heading and cells to the right.
	Right bool
	// Hidden columns appear in JSON only.
	Hidden bool
}

// Table is a list of rows, printed as text or as JSON.
type Table struct {
	Columns []Column
	// Empty is printed for [Unknown] cells.
	Empty string
	// MaxLines cuts cells of several lines, unless it is 0.
	MaxLines int
	rows     [][]Cell
}

// Add appends a row with a cell for each column.
func (t *Table) Add(row ...Cell) { t.rows = append(t.rows, row) }

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// PrintOptions say how a table looks as text.
type PrintOptions struct {
	NoHeading bool
	Colors    bool
}

// Print writes the table as text. The last column is not padded.
func (t *Table) Print(w io.Writer, o PrintOptions) error {
	var rows [][]Cell
	if !o.NoHeading {
		heading := make([]Cell, len(t.Columns))
		for i, c := range t.Columns {
			heading[i] = Cell{Text: c.Name, Style: Underline}
		}
		rows = append(rows, heading)
	}
	rows = append(rows, t.rows...)
	texts, widths := t.layOut(rows)
	var out strings.Builder
	for i, lines := range texts {
		for n := range height(lines) {
			t.line(&out, rows[i], lines, widths, n, o)
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// layOut returns the lines of each cell and the width of each column.
func (t *Table) layOut(rows [][]Cell) (texts [][][]string, widths []int) {
	widths = make([]int, len(t.Columns))
	for _, row := range rows {
		cells := make([][]string, len(row))
		for i, cell := range row {
			cells[i] = t.cellLines(cell)
			for _, line := range cells[i] {
				widths[i] = max(widths[i], width(line))
			}
		}
		texts = append(texts, cells)
	}
	return texts, widths
}

func (t *Table) cellLines(c Cell) []string {
	if c.unknown {
		return []string{t.Empty}
	}
	lines := strings.Split(strings.TrimSuffix(c.Text, "\n"), "\n")
	if t.MaxLines > 0 && len(lines) > t.MaxLines {
		lines = lines[:t.MaxLines:t.MaxLines]
		lines[t.MaxLines-1] += "…"
	}
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return lines
}

func height(cells [][]string) (lines int) {
	for _, c := range cells {
		lines = max(lines, len(c))
	}
	return lines
}

// line writes the n-th line of a row.
func (t *Table) line(out *strings.Builder, row []Cell, cells [][]string, widths []int, n int, o PrintOptions) {
	last := len(t.Columns) - 1
	for last > 0 && t.Columns[last].Hidden {
		last--
	}
	for i, column := range t.Columns {
		if column.Hidden {
			continue
		}
		text := ""
		if n < len(cells[i]) {
			text = cells[i][n]
		}
		pad := strings.Repeat(" ", widths[i]-width(text))
		if column.Right {
			out.WriteString(pad)
		}
		out.WriteString(row[i].Style.wrap(text, o.Colors))
		if i == last {
			break
		}
		if !column.Right {
			out.WriteString(pad)
		}
		out.WriteByte(' ')
	}
	out.WriteByte('\n')
}

// width is the number of terminal columns, but for wide scripts.
func width(s string) (n int) {
	for _, r := range s {
		if !unicode.Is(unicode.Mn, r) {
			n++
		}
	}
	return n
}

// Printable writes control characters and what is not UTF-8 as \xHH: names and descriptions come from images and
// servers, and shall not command the terminal.
func Printable(s string) string {
	clean := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }
	if !strings.ContainsFunc(s, clean) {
		return s
	}
	var out strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size <= 1 || unicode.IsControl(r) {
			for _, b := range []byte(s[:size]) {
				fmt.Fprintf(&out, `\x%02x`, b)
			}
		} else {
			out.WriteRune(r)
		}
		s = s[size:]
	}
	return out.String()
}

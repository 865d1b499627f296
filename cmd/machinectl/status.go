package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// status describes machines, those before the first failure.
func (t *tool) status(ctx context.Context, names []string) error {
	return t.connected(ctx, func(d daemon) error {
		var texts []string
		var failed error
		for _, name := range names {
			m, err := d.Describe(ctx, name)
			if failed = err; err != nil {
				break
			}
			text := machineStatus(m, t.statusContext())
			texts = append(texts, text+t.processes(ctx, d, m.Machine)+t.journal(ctx, m))
		}
		return errors.Join(t.Page(ctx, func(w io.Writer) error { return printTexts(w, texts) }), failed)
	})
}

// statusContext looks up processes and links only where they are ours.
func (t *tool) statusContext() statusContext {
	c := statusContext{
		zone: time.Local, now: time.Now(),
		comm: func(int) string { return "" }, link: func(int) string { return "" },
	}
	if t.Target.Local() {
		c.comm, c.link = processName, linkName
	}
	return c
}

// printTexts puts a blank line between texts.
func printTexts(w io.Writer, texts []string) error {
	if _, err := io.WriteString(w, strings.Join(texts, "\n")); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	return nil
}

// statusContext is what a status depends on besides its object.
type statusContext struct {
	zone *time.Location
	now  time.Time
	comm func(pid int) string   // the name of a process, "" if it cannot be told
	link func(index int) string // the name of a network link, likewise
}

func (c statusContext) moment(microseconds int64) string {
	at := time.UnixMicro(microseconds)
	return cli.FormatTime(at, c.zone) + "; " + cli.FormatRelative(at, c.now)
}

func (c statusContext) process(p *machineapi.ProcessID) string {
	if p == nil {
		return ""
	}
	text := strconv.Itoa(p.PID)
	if name := c.comm(p.PID); name != "" {
		text += " (" + name + ")"
	}
	return text
}

// processName is the name of a process of this host.
func processName(pid int) string {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "" // it is gone
	}
	return strings.TrimSuffix(string(comm), "\n")
}

// linkName is the name of a network link of this host.
func linkName(index int) string {
	link, err := net.InterfaceByIndex(index)
	if err != nil {
		return "" // it is gone
	}
	return link.Name
}

// links are the names of network links, or their numbers.
func (c statusContext) links(list []int32) string {
	words := make([]string, len(list))
	for i, index := range list {
		if words[i] = c.link(int(index)); words[i] == "" {
			words[i] = strconv.Itoa(int(index))
		}
	}
	return strings.Join(words, " ")
}

// labelled is a text of lines with right-aligned labels.
type labelled struct{ strings.Builder }

// labelEnd is the column in which labels end.
const labelEnd = 16

// field writes a line unless the value is empty. Short labels are set off by a
// tab, as scripts expect them to be.
func (l *labelled) field(label string, values ...string) {
	for _, value := range values {
		if value == "" {
			continue
		}
		start := "\t" + strings.Repeat(" ", max(0, labelEnd/2-len(label)))
		if len(label) > labelEnd/2 {
			start = strings.Repeat(" ", labelEnd-len(label))
		}
		colon := ": "
		if label == "" {
			colon = "  "
		}
		l.WriteString(start + label + colon + cli.Printable(value) + "\n")
		label = ""
	}
}

func machineStatus(m machineapi.Description, c statusContext) string {
	var out labelled
	out.WriteString(cli.Printable(m.Name))
	if m.ID != "" {
		out.WriteString("(" + m.ID + ")")
	}
	out.WriteString("\n")
	if m.Timestamp != nil {
		out.field("Since", c.moment(int64(m.Timestamp.Realtime)))
	}
	out.field("Leader", c.process(m.Leader))
	out.field("Superv.", c.process(m.Supervisor))
	if m.Service != "" {
		out.field("Service", m.Service+"; class "+string(m.Class))
	} else {
		out.field("Class", string(m.Class))
	}
	if m.UID != 0 {
		out.field("UID", fmt.Sprint(m.UID))
	}
	out.field("Root", m.RootDirectory)
	out.field("Iface", c.links(m.Interfaces))
	out.field("Address", scoped(addresses(m.Addresses), m.Interfaces)...)
	out.field("OS", field(m.OSRelease, "PRETTY_NAME"))
	if m.UIDShift != nil && *m.UIDShift != 0 {
		out.field("ID Shift", fmt.Sprint(*m.UIDShift))
	}
	out.field("Unit", m.Unit)
	out.field("Subgroup", m.Subgroup)
	return out.String()
}

// scoped adds the link to addresses that mean nothing without it.
func scoped(list []string, links []int32) []string {
	if len(links) != 1 {
		return list
	}
	for i, text := range list {
		if strings.Contains(text, ":") {
			list[i] = text + "%" + strconv.Itoa(int(links[0]))
		}
	}
	return list
}

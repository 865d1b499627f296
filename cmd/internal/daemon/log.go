package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Log is a log whose level can be changed while the daemon runs. Lines begin
// with "<N>", the syslog priority, for the service manager or syslog(1) to
// read, unless they go to a terminal.
type Log struct {
	*slog.Logger
	level   *slog.LevelVar
	handler *handler
}

// NewLog writes to w; terminal leaves out the priorities.
func NewLog(w io.Writer, terminal bool) *Log {
	level := new(slog.LevelVar)
	h := &handler{out: w, mu: new(sync.Mutex), level: level, terminal: terminal}
	return &Log{slog.New(h), level, h}
}

func (l *Log) useJournal(j *journal) {
	l.handler.journal = j
}

// Target says where the log goes, as systemd names it.
func (l *Log) Target() string {
	if l.handler.journal != nil {
		return "journal"
	}
	return "console"
}

// SetPriority shows messages of the given syslog priority and more urgent ones.
func (l *Log) SetPriority(p int) {
	switch {
	case p >= 7:
		l.level.Set(slog.LevelDebug)
	case p >= 5:
		l.level.Set(slog.LevelInfo)
	case p == 4:
		l.level.Set(slog.LevelWarn)
	default:
		l.level.Set(slog.LevelError)
	}
}

// Priority is the syslog priority of the least urgent messages that are shown.
func (l *Log) Priority() int { return priority(l.level.Level()) }

func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// messageID is an attribute for programs that look through the journal, which
// tells nobody else anything.
const messageID = "MESSAGE_ID"

// handler writes one line per record: priority, message, attributes.
type handler struct {
	mu       *sync.Mutex
	out      io.Writer
	level    *slog.LevelVar
	terminal bool
	attrs    string      // formatted
	fields   []slog.Attr // the same, with the names of their groups
	group    string
	journal  *journal // nil if there is none
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	line := bytes.NewBufferString(oneLine(r.Message) + h.attrs)
	fields := slices.Clip(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(h.format(a))
		fields = append(fields, h.field(a))
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	// A record that the journal refuses, such as one that is too long, still gets
	// there as a line. Where it takes nothing at all, it takes no lines either.
	if h.journal != nil {
		if err := h.journal.send(priority(r.Level), line.String(), fields); err == nil || errors.Is(err, errJournalStuck) {
			return err
		}
	}
	prefix := ""
	if !h.terminal {
		prefix = fmt.Sprintf("<%d>", priority(r.Level))
	}
	_, err := fmt.Fprintf(h.out, "%s%s\n", prefix, line)
	return err
}

// field is an attribute under its full name.
func (h *handler) field(a slog.Attr) slog.Attr {
	return slog.Attr{Key: h.group + a.Key, Value: a.Value}
}

func (h *handler) format(a slog.Attr) string {
	if a.Key == messageID {
		return ""
	}
	text := a.Value.Resolve().String()
	if text == "" || strings.ContainsAny(text, " \"\n\t") {
		text = fmt.Sprintf("%q", text)
	}
	return " " + h.group + a.Key + "=" + text
}

// oneLine keeps a message that carries foreign text from looking like two.
func oneLine(s string) string { return strings.NewReplacer("\n", "\\n", "\r", "\\r").Replace(s) }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += h.format(a)
		c.fields = append(slices.Clip(c.fields), h.field(a))
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

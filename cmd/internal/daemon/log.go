package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// Log is a log whose level can be changed while the daemon runs. Lines begin
// with "<N>", the syslog priority, for the service manager or syslog(1) to
// read, unless they go to a terminal.
type Log struct {
	*slog.Logger
	level *slog.LevelVar
}

// NewLog writes to w; terminal leaves out the priorities.
func NewLog(w io.Writer, terminal bool) *Log {
	level := new(slog.LevelVar)
	h := &handler{out: w, mu: new(sync.Mutex), level: level, terminal: terminal}
	return &Log{slog.New(h), level}
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

// handler writes one line per record: priority, message, attributes.
type handler struct {
	mu       *sync.Mutex
	out      io.Writer
	level    *slog.LevelVar
	terminal bool
	attrs    string
	group    string
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	if !h.terminal {
		fmt.Fprintf(&line, "<%d>", priority(r.Level))
	}
	line.WriteString(oneLine(r.Message))
	line.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(h.format(a))
		return true
	})
	line.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(line.Bytes())
	return err
}

func (h *handler) format(a slog.Attr) string {
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
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

package machined

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sys/unix"
)

// runLogs keeps the output of started machines, NAME.log each. Runners write
// into the files themselves, so that they outlive the daemon. A file that has
// become too long loses its older half; the inotify instance that notices is
// idle as long as machines are silent.
type runLogs struct {
	dir     string
	limit   int64
	log     *slog.Logger
	inotify *os.File
	wg      sync.WaitGroup
}

func openRunLogs(dir string, limit int64, log *slog.Logger) (*runLogs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch logs: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY); err != nil {
		return nil, fmt.Errorf("watch logs: %w", errors.Join(err, unix.Close(fd)))
	}
	l := &runLogs{dir: dir, limit: limit, log: log, inotify: os.NewFile(uintptr(fd), "inotify of logs")}
	l.wg.Go(l.watch)
	return l, nil
}

func (l *runLogs) close() error {
	err := l.inotify.Close()
	l.wg.Wait()
	return err
}

func (l *runLogs) watch() {
	buf := make([]byte, 16<<10)
	for {
		if _, err := l.inotify.Read(buf); err != nil {
			return
		}
		// Which files were written is in the events; looking at all of them is
		// simpler, and there are few.
		logs, err := filepath.Glob(filepath.Join(escapeGlob(l.dir), "*.log"))
		for _, path := range logs {
			err = errors.Join(err, l.trim(path))
		}
		if err != nil {
			l.log.Warn("logs of machines are not trimmed", "error", err)
		}
	}
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// trim halves a log that is too long. What is written in the instant between
// reading and cutting is lost; it looks again as long as something was.
func (l *runLogs) trim(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var tail []byte
	for seen := int64(-1); ; {
		info, err := f.Stat()
		if err != nil || info.Size() <= l.limit {
			return err
		}
		if info.Size() == seen {
			break
		}
		seen = info.Size()
		if tail, err = tailOf(f, l.limit/2); err != nil {
			return err
		}
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.Write(tail)
	return err
}

// create opens the log of a machine for its runner and says where it ends now.
func (l *runLogs) create(name string) (f *os.File, end int64, err error) {
	f, err = os.OpenFile(l.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open log of machine: %w", err)
	}
	end, err = f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, fmt.Errorf("open log of machine: %w", errors.Join(err, f.Close()))
	}
	return f, end, nil
}

func (l *runLogs) path(name string) string { return filepath.Join(l.dir, name+".log") }

// maxQuote is how much of a log an error message repeats, in bytes.
const maxQuote = 1024

// last returns the last lines that were written after begin, fit for a message:
// without control characters, one behind the other.
func (l *runLogs) last(name string, begin int64) string {
	f, err := os.Open(l.path(name))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if size := info.Size(); size < begin { // it was trimmed meanwhile
		begin = 0
	}
	text, err := tailOf(f, min(maxQuote, info.Size()-begin))
	if err != nil {
		return ""
	}
	return quote(string(text))
}

func quote(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r == unicode.ReplacementChar {
				return -1
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// tailOf reads at most n bytes from the end, from the beginning of a line if
// there is one.
func tailOf(f *os.File, n int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	begin := max(info.Size()-n, 0)
	tail, err := io.ReadAll(io.NewSectionReader(f, begin, n))
	if err != nil {
		return nil, err
	}
	if _, after, found := bytes.Cut(tail, []byte("\n")); found && begin > 0 && len(after) > 0 {
		return after, nil
	}
	return tail, nil
}

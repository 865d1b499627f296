package daemon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// journalSocket takes records in the journal's native protocol.
const journalSocket = "/run/systemd/journal/socket"

// OpenLog makes the log of a daemon: to the journal if that is what stderr
// leads to, to a terminal without priorities, to anything else with them.
func OpenLog(stderr *os.File, identifier string, getenv func(string) string) *Log {
	log := NewLog(stderr, term.IsTerminal(int(stderr.Fd())))
	if leadsToJournal(stderr, getenv("JOURNAL_STREAM")) {
		// If that fails, lines with priorities get there as well.
		if j, err := dialJournal(journalSocket, identifier); err == nil {
			log.useJournal(j)
		}
	}
	return log
}

// leadsToJournal compares a file with "device:inode", which the service manager
// puts into the environment; a child with another stderr inherits it too.
func leadsToJournal(f *os.File, stream string) bool {
	var st unix.Stat_t
	if stream == "" || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journalPatience is how long a message may wait for a journal that takes nothing.
const journalPatience = 5 * time.Second

// errJournalStuck means that a message is lost.
var errJournalStuck = errors.New("journal takes nothing")

// journal is a connection to the journal. One call of send at a time.
type journal struct {
	conn       *net.UnixConn
	raw        syscall.RawConn // of conn
	identifier string
	patience   time.Duration
	stuck      bool // nobody waits again before it has taken something
}

func dialJournal(path, identifier string) (*journal, error) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("connect to the journal: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the journal: %w", err), conn.Close())
	}
	return &journal{conn: conn, raw: raw, identifier: identifier, patience: journalPatience}, nil
}

// send writes one record: the text as MESSAGE, each attribute as a field.
// [errJournalStuck] if the journal cannot take it; a daemon does not stand still for
// its log.
func (j *journal) send(priority int, text string, attrs []slog.Attr) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n", priority, j.identifier)
	appendField(&b, "MESSAGE", text)
	for _, a := range attrs {
		if name := fieldName(a.Key); name != "" {
			appendField(&b, name, a.Value.Resolve().String())
		}
	}
	return j.write(b.Bytes())
}

func (j *journal) write(record []byte) error {
	var deadline time.Time
	if !j.stuck {
		deadline = time.Now().Add(j.patience)
	}
	if err := j.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	var err error
	rawErr := j.raw.Write(func(fd uintptr) (done bool) {
		_, err = unix.Write(int(fd), record)
		return j.stuck || !errors.Is(err, unix.EAGAIN)
	})
	if j.stuck = errors.Is(rawErr, os.ErrDeadlineExceeded) || errors.Is(err, unix.EAGAIN); j.stuck {
		return errJournalStuck
	}
	return errors.Join(rawErr, err)
}

// appendField writes a field with its length before it, so that its value may
// hold anything.
func appendField(b *bytes.Buffer, name, value string) {
	b.WriteString(name + "\n")
	_ = binary.Write(b, binary.LittleEndian, uint64(len(value))) // a Buffer takes everything
	b.WriteString(value + "\n")
}

// fieldName makes a name that the journal takes: capitals, digits and "_",
// none of the last two in front. What would pass for one of our own fields is
// left out.
func fieldName(key string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(key))
	name = strings.TrimLeft(name, "_0123456789")
	if len(name) > 64 || name == "MESSAGE" || name == "PRIORITY" || name == "SYSLOG_IDENTIFIER" {
		return ""
	}
	return name
}

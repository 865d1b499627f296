package nsenter

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// settleLimit is how long a leader may take to become the guest's init.
	settleLimit = 5 * time.Second
	settleStep  = 2 * time.Millisecond
	// forkNoExec is the kernel's PF_FORKNOEXEC: still the program of its parent.
	forkNoExec = 0x40
)

// settle waits until the leader runs a program of its own. systemd-nspawn
// declares a machine ready a moment before the leader gives up capabilities and
// executes the guest's init; a command run then would copy a leader that is
// still privileged. A leader that takes longer than settleLimit is one that
// means to stay as it is.
func (t Target) settle(ctx context.Context) error {
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	tick := time.NewTicker(settleStep)
	defer tick.Stop()
	for {
		own, err := t.runsOwnProgram()
		if err != nil || own {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-tick.C:
		}
	}
}

// runsOwnProgram reports whether the leader has executed a program and has its
// environment.
func (t Target) runsOwnProgram() (bool, error) {
	data, err := os.ReadFile(t.proc("stat"))
	if err != nil {
		return false, fmt.Errorf("read state of leader: %w", t.cause(err))
	}
	if err := t.Alive(); err != nil {
		return false, err
	}
	own, err := parseStat(string(data))
	if err != nil {
		return false, fmt.Errorf("read state of leader: %w", err)
	}
	return own, nil
}

// parseStat reads proc_pid_stat(5): field 9, the process flags, and field 51,
// the end of the environment, which in the middle of an execve is not there yet
// although the flag is gone. It looks behind the last parenthesis, since the
// second field is a name in parentheses that may contain anything.
func parseStat(stat string) (ownProgram bool, err error) {
	const flagsField, environField = 9 - 3, 51 - 3 // the third field comes first
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= environField {
		return false, fmt.Errorf("%q is too short: %w", stat, strconv.ErrSyntax)
	}
	flags, err := strconv.ParseUint(fields[flagsField], 10, 64)
	if err != nil {
		return false, err
	}
	return flags&forkNoExec == 0 && fields[environField] != "0", nil
}

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
		flags, err := t.flags()
		if err != nil {
			return err
		}
		if flags&forkNoExec == 0 {
			return nil
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

// flags reads the leader's process flags (proc_pid_stat(5), field 9).
func (t Target) flags() (uint64, error) {
	data, err := os.ReadFile(t.proc("stat"))
	if err != nil {
		return 0, fmt.Errorf("read flags of leader: %w", t.cause(err))
	}
	if err := t.alive(); err != nil {
		return 0, err
	}
	flags, err := parseFlags(string(data))
	if err != nil {
		return 0, fmt.Errorf("read flags of leader: %w", err)
	}
	return flags, nil
}

// parseFlags looks behind the last parenthesis, since the second field is a
// name in parentheses that may contain anything.
func parseFlags(stat string) (uint64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return 0, fmt.Errorf("%q is too short: %w", stat, strconv.ErrSyntax)
	}
	return strconv.ParseUint(fields[6], 10, 64)
}

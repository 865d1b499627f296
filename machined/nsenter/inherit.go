package nsenter

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// usualOpenFiles is the limit that old programs can cope with (select(2)).
const usualOpenFiles = 1024

// resourceLimits is the kernel's RLIM_NLIMITS.
const resourceLimits = 16

// inherited is what the command has of the leader, where else it would have the
// daemon's, beside what belongs to its credentials.
type inherited struct {
	limits [resourceLimits]unix.Rlimit
	// oomScore is the text of proc_pid_oom_score_adj(5), oomFile the name of the file.
	oomScore []byte
	oomFile  *byte
}

// clampLimits lowers what the caller may not raise.
func (p *plan) clampLimits() error {
	if p.caps[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return nil
	}
	for i := range p.limits {
		var own unix.Rlimit
		if err := unix.Getrlimit(i, &own); err != nil {
			return fmt.Errorf("read own limits: %w", err)
		}
		limit := &p.limits[i]
		limit.Max = min(limit.Max, own.Max)
		limit.Cur = min(limit.Cur, limit.Max)
	}
	return nil
}

func (p *plan) inherit() error {
	for i := range p.limits {
		if err := unix.Prlimit(p.target.PID, i, nil, &p.limits[i]); err != nil {
			return fmt.Errorf("read limits of leader: %w", p.target.cause(err))
		}
	}
	if err := p.clampLimits(); err != nil {
		return err
	}
	// A service manager raises its own, and lowers it for what it starts.
	open := &p.limits[unix.RLIMIT_NOFILE]
	open.Cur = min(open.Max, usualOpenFiles)
	score, errScore := os.ReadFile(p.target.proc("oom_score_adj"))
	file, errFile := unix.BytePtrFromString("/proc/self/oom_score_adj")
	if err := errors.Join(errScore, errFile); err != nil {
		return fmt.Errorf("read score of leader: %w", p.target.cause(err))
	}
	p.oomScore, p.oomFile = bytes.TrimSpace(score), file
	return p.target.Alive()
}

package errand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// await waits for the end of the process, or ends it when ctx does or when it
// does nothing any more.
func (p *process) await(ctx context.Context, e Errand) error {
	ended, cause := p.watch(ctx, e.Stall)
	if ended {
		return p.end(cause)
	}
	// That the order ends tells the process.
	err := p.order.Close()
	grace := e.Grace
	if errors.Is(cause, ErrStalled) {
		grace = 0 // nor will it do that
	}
	if ok, waited := p.within(grace); ok {
		return errors.Join(err, because(cause, waited, p.said()))
	}
	// It may have ended by now, which await sees below.
	_ = p.cmd.Process.Kill()
	if ok, waited := p.within(killLimit); ok {
		return errors.Join(err, because(cause, waited, p.said()))
	}
	return errors.Join(ErrHangs, cause, err) // it may write still: what it said is not to be read
}

// watch returns how the process ended, or why it has to.
func (p *process) watch(ctx context.Context, stall time.Duration) (ended bool, cause error) {
	if stall == 0 {
		select {
		case err := <-p.done:
			return true, err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	tick := time.NewTicker(stall)
	defer tick.Stop()
	for seen := ""; ; {
		select {
		case err := <-p.done:
			return true, err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
			now := activity(p.cmd.Process.Pid)
			if now == seen && now != "" {
				return false, fmt.Errorf("%w: %v", ErrStalled, stall)
			}
			seen = now
		}
	}
}

// activity says how much a child has read, written and computed: what the kernel
// counts for it in proc_pid_io(5), and the times of proc_pid_stat(5). It is empty
// where that is not to be had, and then nothing is known.
func activity(pid int) string {
	dir := "/proc/" + strconv.Itoa(pid)
	io, errIO := os.ReadFile(dir + "/io")
	stat, errStat := os.ReadFile(dir + "/stat")
	if errIO != nil || errStat != nil {
		return ""
	}
	// The first field after the name, which may hold anything, is the third of all.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const userTime, systemTime = 14 - 3, 15 - 3
	if len(fields) <= systemTime {
		return ""
	}
	return string(io) + fields[userTime] + " " + fields[systemTime]
}

// within waits for the end of the process for a while.
func (p *process) within(limit time.Duration) (ended bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-p.done:
		return true, err
	case <-timer.C:
		return false, nil
	}
}

// end is the end of a process that nobody asked to end.
func (p *process) end(err error) error {
	return errors.Join(p.order.Close(), withWords(err, p.said()))
}

// because tells why a process was ended. One that had its answer ready has done
// what it was to do.
func because(cause, err error, said string) error {
	if err == nil {
		return nil
	}
	return errors.Join(cause, withWords(err, said))
}

func withWords(err error, said string) error {
	if err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// said is what the process said before it ended.
func (p *process) said() string {
	if p.out.full {
		return fmt.Sprintf("it answers more than %d bytes", p.out.max)
	}
	return strings.TrimSpace(p.words.buffer.String())
}

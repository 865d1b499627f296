package machined

import (
	"context"
	"fmt"
)

// pinKey is where a context has its pin.
type pinKey struct{}

// pin is a machine that was looked at.
type pin struct {
	name      string
	leader    ProcessID
	monotonic uint64 // when it was registered: the same leader can be once more, for somebody else
}

// Pin returns a context in which the machine's name means this machine and no
// other: if it has ended, methods of a [Manager] answer [ErrNoSuchMachine] also
// where another has taken its name. Who has asked whether something may be done to
// a machine, which can take as long as it takes somebody to type a password, does
// it under the pin of the machine that he asked about.
func (m Machine) Pin(ctx context.Context) context.Context {
	if m.Leader.PID == 0 {
		return ctx // see FindToEnd: it is none yet
	}
	return context.WithValue(ctx, pinKey{}, pin{m.Name, m.Leader, m.Monotonic})
}

// checkPin says whether a machine is the one that is meant.
func checkPin(ctx context.Context, m Machine) error {
	p, pinned := ctx.Value(pinKey{}).(pin)
	if !pinned || p.name != m.Name || p.leader == m.Leader && p.monotonic == m.Monotonic {
		return nil
	}
	return fmt.Errorf("machine %q has ended, another has its name: %w", m.Name, ErrNoSuchMachine)
}

package importd

import (
	"cmp"
	"context"
	"time"

	"berth/images"
)

// Close ends all transfers and waits until what they made is gone.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	var ending []*worker
	for _, t := range m.transfers {
		if t.worker == nil {
			m.remove(t, ErrCanceled)
			continue
		}
		t.cancel()
		ending = append(ending, t.worker)
	}
	m.mu.Unlock()
	for _, w := range ending {
		defer w.end(m.config.patience())()
	}
	m.running.Wait()
}

func (c *Config) patience() time.Duration { return cmp.Or(c.Patience, DefaultPatience) }

// sweep removes leftovers of dead workers; those of living ones are locked.
func (c *Config) sweep(ctx context.Context, root string) {
	removed, err := images.Sweep(ctx, root, images.SweepOptions{SpoolAge: images.SpoolAge, Foreign: c.trees()})
	if err != nil {
		c.Logger.Warn("sweep leftovers", "root", root, "error", err)
	}
	for _, name := range removed {
		c.Logger.Info("removed leftover", "root", root, "name", name)
	}
}

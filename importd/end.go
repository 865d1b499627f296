package importd

import (
	"cmp"
	"context"
	"os"
	"time"

	"berth/images"
	"berth/images/btrfs"
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

// clearUp removes what the worker of a transfer could not: a failed one all that it
// made, and an export its snapshot, for which it keeps no rights. pending is what it
// said last that it makes.
func (c *Config) clearUp(ctx context.Context, r *Request, pending string, failed bool) {
	root := r.ImageRoot
	switch {
	case r.Kind == ExportTar && !c.User:
		root = c.Locations.Pool[r.Class]
		if !isBtrfs(root) {
			return
		}
	case r.Kind.Export() || !failed || root == "":
		return
	}
	c.sweep(ctx, root, pending)
}

func isBtrfs(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only looked at
	return btrfs.IsBtrfs(f)
}

// sweep removes leftovers of dead workers; those of living ones are locked, and so may
// abandoned be for a moment.
func (c *Config) sweep(ctx context.Context, root, abandoned string) {
	removed, err := images.Sweep(ctx, root, images.SweepOptions{
		SpoolAge: images.SpoolAge, Foreign: c.trees(), Abandoned: abandoned,
	})
	if err != nil {
		c.Logger.Warn("sweep leftovers", "root", root, "error", err)
	}
	for _, name := range removed {
		c.Logger.Info("removed leftover", "root", root, "name", name)
	}
}

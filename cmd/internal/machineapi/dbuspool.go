package machineapi

import (
	"context"
	"os"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/images/btrfs"
)

// poolProperties are those of the manager.
func (b *Bus) poolProperties() []bus.Property {
	size := func(name string, get func(btrfs.Quota) uint64) bus.Property {
		p := silent(name, "t", nil)
		p.Get = func(context.Context) (any, error) { return poolSize(b.pool, get), nil }
		return p
	}
	return []bus.Property{
		silent("PoolPath", "s", b.pool),
		size("PoolUsage", func(q btrfs.Quota) uint64 { return q.Referenced }),
		size("PoolLimit", func(q btrfs.Quota) uint64 { return q.ReferencedLimit }),
	}
}

// poolSize is unknown wherever there is no quota, for whatever reason.
func poolSize(pool string, get func(btrfs.Quota) uint64) uint64 {
	f, err := os.Open(pool)
	if err != nil {
		return images.Unknown
	}
	defer f.Close()
	if !btrfs.IsBtrfs(f) {
		return images.Unknown
	}
	q, err := btrfs.ReadQuota(f)
	if err != nil {
		return images.Unknown
	}
	return get(q)
}

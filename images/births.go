package images

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxBirths bounds what is remembered; all is read anew after that many.
	maxBirths = 1 << 16
	// settled is how old a change must be before what was read is remembered: the
	// clock of a file system stands still for some milliseconds, and a change in
	// them would not be seen.
	settled = 2 * time.Second
)

// births remembers the creation times that attributes tell. Setting an attribute
// changes the inode's time of change, so that a listing costs an image no more than
// one look at its inode.
type births struct {
	mu    sync.Mutex
	known map[inode]kept
}

// inode is one of this host.
type inode struct {
	major, minor uint32
	number       uint64
}

// kept is what an attribute told of an inode that was made and changed then.
type kept struct {
	born, changed unix.StatxTimestamp
	created       time.Time
}

// attribute is the creation time that the attribute of an entry remembers, zero if
// none.
func (b *births) attribute(e entry) time.Time { return b.attributeAt(e, time.Now()) }

func (b *births) attributeAt(e entry, clock time.Time) time.Time {
	id := inode{e.stat.Dev_major, e.stat.Dev_minor, e.stat.Ino}
	now := kept{born: e.stat.Btime, changed: e.stat.Ctime}
	b.mu.Lock()
	before, ok := b.known[id]
	b.mu.Unlock()
	if now.created = before.created; ok && before == now {
		return before.created
	}
	created, err := readCreated(e.path)
	known := err == nil || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP)
	if now.created = created; known && clock.Sub(time.Unix(now.changed.Sec, int64(now.changed.Nsec))) > settled {
		b.remember(id, now)
	}
	return created
}

func (b *births) remember(id inode, k kept) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || len(b.known) >= maxBirths {
		b.known = make(map[inode]kept)
	}
	b.known[id] = k
}

package cgroup2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/units/unitpath"
)

// group is a cgroup that is watched.
type group struct {
	dir     string
	own     bool // made by this package: removed when empty
	told    bool // watchers are told of its end
	making  int  // calls that are putting something in: it is empty and must stay
	watch   int32
	changed chan struct{} // closed and replaced when cgroup.events changes
}

// watchGroup is called with the lock held. The cgroup must exist.
func (b *Backend) watchGroup(dir string, own bool) (*group, error) {
	if g := b.groups[dir]; g != nil {
		return g, nil
	}
	g := &group{dir: dir, own: own, told: own, changed: make(chan struct{})}
	conn, err := b.inotify.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("watch cgroup %s: %w", dir, err)
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		var wd int
		wd, inner = unix.InotifyAddWatch(int(fd), filepath.Join(dir, eventsFile), unix.IN_MODIFY)
		g.watch = int32(wd)
	})
	if err := errors.Join(err, inner); err != nil {
		return nil, fmt.Errorf("watch cgroup %s: %w", dir, err)
	}
	b.groups[dir], b.byWatch[g.watch] = g, g
	return g, nil
}

// forget is called with the lock held. The kernel drops the inotify watch of a
// removed cgroup itself; asking for it then is an error of no interest.
func (b *Backend) forget(g *group) {
	delete(b.groups, g.dir)
	delete(b.byWatch, g.watch)
	close(g.changed)
	if conn, err := b.inotify.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(g.watch)) })
	}
}

// watch reads events until Close.
func (b *Backend) watch() {
	buf := make([]byte, 64<<10)
	for {
		n, err := b.inotify.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				b.log.Error("watch of cgroups ended", "error", err)
			}
			return
		}
		b.dispatch(buf[:n])
	}
}

// dispatch reads inotify_event structures: watch, mask, cookie, length of name.
func (b *Backend) dispatch(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(buf) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(buf))
		mask := binary.NativeEndian.Uint32(buf[4:])
		buf = buf[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(buf[12:]):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, g := range b.groups {
				b.check(g)
			}
		} else if g := b.byWatch[watch]; g != nil {
			b.check(g)
		}
	}
}

// check is called with the lock held. It wakes who waits for the group. One that
// is empty is removed if it is ours, and watchers are told.
func (b *Backend) check(g *group) {
	busy, err := populated(g.dir)
	if err != nil {
		b.log.Warn("cannot tell whether a unit is empty", "cgroup", g.dir, "error", err)
		return
	}
	if busy || g.making > 0 {
		b.wake(g)
		return
	}
	if g.own {
		if err := removeTree(g.dir); err != nil {
			// Something came in meanwhile: its end brings another event.
			b.log.Debug("unit is not removed yet", "cgroup", g.dir, "error", err)
			b.wake(g)
			return
		}
	}
	b.forget(g)
	if !g.told {
		return
	}
	for _, f := range b.watchers {
		f(unitpath.UnitName(filepath.Base(g.dir)))
	}
}

func (b *Backend) wake(g *group) {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Follow implements [machined.Units].
func (b *Backend) Follow(_ context.Context, unit machined.Unit) (active bool, err error) {
	dir, err := b.dirOf(unit)
	if err != nil {
		return false, err
	}
	g, err := b.find(dir)
	if g == nil || err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	busy, err := populated(dir)
	if b.groups[dir] != g || err != nil {
		return false, err
	}
	if !busy {
		b.check(g)
		return false, nil
	}
	g.told = true
	return true, nil
}

// Watch implements [machined.Units].
func (b *Backend) Watch(f func(unit string)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.next
	b.next++
	b.watchers[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	}
}

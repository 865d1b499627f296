package cpio

import (
	"cmp"
	"fmt"
	"slices"

	"berth/transfer/tarball/pax"
)

// linkMemory bounds what is remembered of files with several names, in bytes. Files whose names have all come are
// forgotten.
const linkMemory = 16 << 20

// linkCost is what a remembered file takes beside its names, and nameCost what each name takes, in bytes.
const (
	linkCost = 256
	nameCost = 32
)

// file is one with more names to come.
type file struct {
	hdr   header
	order int // of its first name in the archive
	// name is the one that the others are links of, "" as long as the content has not come.
	name    string
	waiting []string // names that wait for the content
	left    uint32   // names that are still to come
	cost    int
}

// links are the files with several names that were met so far.
type links struct {
	files map[inode]*file
	order int
	cost  int
}

// find returns the file that an entry is one more name of, or nil. Numbers alone do not say it: the small ones of the
// old forms are cut off by some writers.
func (l *links) find(h *header) *file {
	f := l.files[h.inode]
	if f == nil || f.hdr.mode != h.mode || f.hdr.uid != h.uid || f.hdr.gid != h.gid ||
		f.hdr.major != h.major || f.hdr.minor != h.minor {
		return nil
	}
	if f.hdr.size != 0 && h.size != 0 && (f.hdr.size != h.size || f.hdr.mtime != h.mtime) {
		return nil
	}
	return f
}

// add begins a file. One with the same numbers is forgotten if all it could get is links.
func (l *links) add(h *header) (*file, error) {
	if old := l.files[h.inode]; old != nil {
		if len(old.waiting) > 0 {
			return nil, fmt.Errorf("%w: files of different kinds or owners have the same inode number", pax.ErrFormat)
		}
		l.forget(old)
	}
	if l.files == nil {
		l.files = map[inode]*file{}
	}
	f := &file{hdr: *h, order: l.order, left: h.nlink}
	l.order++
	l.files[h.inode] = f
	return f, l.charge(f, linkCost)
}

func (l *links) charge(f *file, n int) error {
	f.cost += n
	if l.cost += n; l.cost > linkMemory {
		return fmt.Errorf("%w: names of files with several take more than %d bytes", pax.ErrLimit, linkMemory)
	}
	return nil
}

// came counts a name, and forgets the file with its last one.
func (l *links) came(f *file) {
	if f.left--; f.left == 0 {
		l.forget(f)
	}
}

func (l *links) forget(f *file) {
	if l.files[f.hdr.inode] == f {
		delete(l.files, f.hdr.inode)
		l.cost -= f.cost
	}
}

// empty returns and forgets the files whose content never came, in the order of the archive.
func (l *links) empty() []*file {
	var files []*file
	for _, f := range l.files {
		if len(f.waiting) > 0 {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b *file) int { return cmp.Compare(a.order, b.order) })
	l.files, l.cost = nil, 0
	return files
}

// hold keeps a name until the content has come.
func (l *links) hold(f *file, name string) error {
	f.waiting = append(f.waiting, name)
	return l.charge(f, nameCost+len(name))
}

// settle makes name the one that the others are links of.
func (l *links) settle(f *file, name string) error {
	f.name = name
	return l.charge(f, nameCost+len(name))
}

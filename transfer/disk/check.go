package disk

import (
	"context"
	"fmt"
	"math"
)

// Units in which the file is given back where compressed clusters were. The unit grows with the file, which bounds the
// memory of the counters.
const (
	minUnit  = 64 << 10
	maxUnits = 4 << 20
)

// maxClusters in a file bounds the memory of what is recorded of each: two bits, so 128 MiB. It stands for 256 GiB with
// the smallest clusters and 32 TiB with those of the usual size.
const maxClusters = 1 << 29

// checker is the first visitor of an image. It finds everything that is wrong with its tables before a byte is moved,
// and counts the users of each part of the file.
type checker struct {
	image   *image
	whole   bitmap // clusters of the file that are one thing: header, table, data
	shared  bitmap // clusters of the file that hold compressed ones
	holders holders
}

var _ visitor = (*checker)(nil)

func newChecker(q *image) (*checker, error) {
	clusters := (q.fileSize-1)>>q.bits + 1
	if clusters > maxClusters {
		return nil, fmt.Errorf("%w: file of %d bytes in clusters of %d", ErrTooLarge, q.fileSize, q.cluster)
	}
	c := &checker{image: q, whole: newBitmap(clusters), shared: newBitmap(clusters), holders: newHolders(q)}
	if err := c.take(0); err != nil {
		return nil, err
	}
	for offset := q.l1Offset; offset < q.l1Offset+q.l1Count*8; offset += q.cluster {
		if err := c.take(offset); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *checker) table(_ context.Context, offset int64) error { return c.take(offset) }

func (c *checker) data(_ context.Context, _, offset int64) error { return c.take(offset) }

// take claims a cluster of the file. Tables that point to the same place twice, or to a header or a table, would make
// the move read what it has just given back.
func (c *checker) take(offset int64) error {
	if offset%c.image.cluster != 0 {
		return corrupt("cluster at %d is not aligned", offset)
	}
	if offset >= c.image.fileSize {
		return corrupt("cluster at %d is past the end of the file at %d", offset, c.image.fileSize)
	}
	number := offset >> c.image.bits
	if c.whole.has(number) || c.shared.has(number) {
		return corrupt("cluster at %d is used twice", offset)
	}
	c.whole.add(number)
	c.holders.add(offset, c.image.cluster)
	return nil
}

func (c *checker) packed(_ context.Context, _, offset, length int64) error {
	// The count is in sectors, and the file may end within the last one.
	if offset >= c.image.fileSize || length > c.image.fileSize-offset+sectorSize-1 {
		return corrupt("compressed cluster of %d bytes at %d is past the end of the file at %d", length, offset, c.image.fileSize)
	}
	length = min(length, c.image.fileSize-offset)
	for number := offset >> c.image.bits; number<<c.image.bits < offset+length; number++ {
		if c.whole.has(number) {
			return corrupt("compressed cluster at %d overlaps something else", offset)
		}
		c.shared.add(number)
	}
	c.holders.add(offset, length)
	return nil
}

// bitmap has a bit for each cluster of the file.
type bitmap []uint64

func newBitmap(n int64) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) has(n int64) bool { return b[n/64]&(1<<(n%64)) != 0 }

func (b bitmap) add(n int64) { b[n/64] |= 1 << (n % 64) }

// holders counts for each unit of the file what is still to be read there.
type holders struct {
	counts []uint32
	unit   int64
}

func newHolders(q *image) holders {
	unit := max(q.cluster, minUnit)
	for q.fileSize/unit >= maxUnits {
		unit *= 2
	}
	return holders{make([]uint32, (q.fileSize+unit-1)/unit), unit}
}

func (h *holders) add(offset, length int64) {
	for i := offset / h.unit; i*h.unit < offset+length && i < int64(len(h.counts)); i++ {
		// A counter that has reached its end stays there, and its unit is kept.
		if h.counts[i] < math.MaxUint32 {
			h.counts[i]++
		}
	}
}

// drop takes back an add and calls free for each unit that nothing holds any more.
func (h *holders) drop(offset, length int64, free func(offset, length int64) error) error {
	for i := offset / h.unit; i*h.unit < offset+length && i < int64(len(h.counts)); i++ {
		if h.counts[i] == math.MaxUint32 {
			continue
		}
		if h.counts[i]--; h.counts[i] > 0 {
			continue
		}
		if err := free(i*h.unit, h.unit); err != nil {
			return err
		}
	}
	return nil
}

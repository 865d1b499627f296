package disk

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Parts of table entries.
const (
	offsetMask     = 0x00fffffffffffe00 // where a table or cluster is in the file
	entryZero      = 1 << 0             // the cluster reads as zeros, whatever is in the file
	entryPacked    = 1 << 62            // the cluster is compressed, and the entry is laid out in another way
	packedBits     = 1<<62 - 1
	sectorSize     = 512
	l1ChunkEntries = 8 << 10
)

// visitor is told what an image consists of, in the order of the disk. What is zero is left out.
type visitor interface {
	// table is a second-level table in the file.
	table(ctx context.Context, offset int64) error
	// data is a cluster; at is its place on the disk.
	data(ctx context.Context, at, offset int64) error
	// packed is a compressed cluster in length bytes of the file, the last of which may belong to something else.
	packed(ctx context.Context, at, offset, length int64) error
}

// walk reads all tables of an image. It holds one second-level table and a part of the first level in memory.
func (q *image) walk(ctx context.Context, v visitor) error {
	l1 := make([]byte, min(q.l1Count, l1ChunkEntries)*8)
	l2 := make([]byte, q.cluster)
	for first := int64(0); first < q.l1Count; first += l1ChunkEntries {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := l1[:min(q.l1Count-first, l1ChunkEntries)*8]
		if err := q.read(chunk, q.l1Offset+first*8); err != nil {
			return fmt.Errorf("read first-level table: %w", err)
		}
		for i := range int64(len(chunk) / 8) {
			offset := int64(binary.BigEndian.Uint64(chunk[i*8:]) & offsetMask)
			if offset == 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := q.walkTable(ctx, v, l2, offset, (first+i)*(q.cluster/8)); err != nil {
				return err
			}
		}
	}
	return nil
}

// walkTable reads the second-level table at an offset in the file, whose first entry is for the cluster of that number.
func (q *image) walkTable(ctx context.Context, v visitor, l2 []byte, offset, number int64) error {
	if err := v.table(ctx, offset); err != nil {
		return err
	}
	if err := q.read(l2, offset); err != nil {
		return fmt.Errorf("read second-level table: %w", err)
	}
	for i := range q.cluster / 8 {
		at := (number + i) << q.bits
		// No overflow: the size of a disk leaves room for one more cluster.
		if at >= q.size {
			return nil
		}
		if err := q.visit(ctx, v, at, binary.BigEndian.Uint64(l2[i*8:])); err != nil {
			return fmt.Errorf("cluster of the disk at %d: %w", at, err)
		}
	}
	return nil
}

func (q *image) visit(ctx context.Context, v visitor, at int64, entry uint64) error {
	if entry&entryPacked != 0 {
		// The lower bits are a byte offset, the upper ones count the sectors after the first.
		shift := 62 - (q.bits - 8)
		offset := int64(entry & (1<<shift - 1))
		sectors := int64(entry&packedBits>>shift) + 1
		return v.packed(ctx, at, offset, sectors*sectorSize-offset%sectorSize)
	}
	if entry&entryZero != 0 {
		if q.version < 3 {
			return corrupt("zero flag in version %d", q.version)
		}
		return nil
	}
	if offset := int64(entry & offsetMask); offset != 0 {
		return v.data(ctx, at, offset)
	}
	return nil
}

// read fills p from the file. A file may end within its last cluster: what is missing there is zero.
func (q *image) read(p []byte, offset int64) error {
	have := max(0, min(int64(len(p)), q.fileSize-offset))
	clear(p[have:])
	_, err := q.file.ReadAt(p[:have], offset)
	return err
}

package spool

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
)

const (
	// recordSize divides the size of a page, so that no crash leaves half of one.
	recordSize = 16
	// maxRecord is how much data has one checksum: what a damaged byte costs.
	maxRecord = 1 << 20
)

// record says that a stretch of a file is in its spool.
type record struct {
	first, length int64
	sum           uint32 // CRC-32C of the data
	slot          int64  // its place among the records of the file
}

func (r record) end() int64 { return r.first + r.length }
func (r record) span() Span { return Span{r.first, r.end()} }

// recordsAt returns where in the spool of a file the records are.
func recordsAt(size int64) int64 {
	return headerSize + (size+recordSize-1)/recordSize*recordSize
}

// readRecords returns the usable records in the order of what they stand for, and how many there are of every kind. Of
// two for the same byte one is left out: no process writes such.
func readRecords(f *os.File, size int64) (usable []record, slots int64, err error) {
	table := bufio.NewReader(io.NewSectionReader(f, recordsAt(size), 1<<62))
	for ; ; slots++ {
		var raw [recordSize]byte
		if _, err := io.ReadFull(table, raw[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return nil, 0, fmt.Errorf("read spool: %w", err)
		}
		r := parseRecord(raw, slots)
		if r.length > 0 && r.length <= maxRecord && r.first >= 0 && r.first <= size-r.length {
			usable = append(usable, r)
		}
	}
	slices.SortStableFunc(usable, func(a, b record) int { return cmp.Compare(a.first, b.first) })
	var end int64
	usable = slices.DeleteFunc(usable, func(r record) bool {
		if r.first < end {
			return true
		}
		end = r.end()
		return false
	})
	return usable, slots, nil
}

func parseRecord(raw [recordSize]byte, slot int64) record {
	return record{
		first:  int64(binary.LittleEndian.Uint64(raw[:])),
		length: int64(binary.LittleEndian.Uint32(raw[8:])),
		sum:    binary.LittleEndian.Uint32(raw[12:]),
		slot:   slot,
	}
}

func (s *File) put(r record) error {
	var raw [recordSize]byte
	binary.LittleEndian.PutUint64(raw[:], uint64(r.first))
	binary.LittleEndian.PutUint32(raw[8:], uint32(r.length))
	binary.LittleEndian.PutUint32(raw[12:], r.sum)
	if _, err := s.file.WriteAt(raw[:], recordsAt(s.header.Size)+r.slot*recordSize); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

// erase makes a record void.
func (s *File) erase(r record) error { return s.put(record{slot: r.slot}) }

// Lane writes to a spool what one connection brings. What comes in one row extends its record until that is full. The
// stretches of lanes must not overlap.
type Lane struct {
	spool *File
	last  record
}

// Lane returns a new one, for one goroutine.
func (s *File) Lane() *Lane { return &Lane{spool: s} }

// Write adds what was received from an offset on. When it returns, the data is there for the reader, and for a later
// process if this one is killed.
func (l *Lane) Write(p []byte, offset int64) error {
	for len(p) > 0 {
		if offset != l.last.end() || l.last.length == maxRecord || l.last.length == 0 {
			l.last = record{first: offset, slot: l.spool.newSlot()}
		}
		data := p[:min(int64(len(p)), maxRecord-l.last.length)]
		if _, err := l.spool.file.WriteAt(data, headerSize+offset); err != nil {
			return fmt.Errorf("write spool: %w", err)
		}
		l.last.length += int64(len(data))
		l.last.sum = crc32.Update(l.last.sum, castagnoli, data)
		if err := l.spool.put(l.last); err != nil {
			return err
		}
		l.spool.extend(Span{offset, offset + int64(len(data))})
		p, offset = p[len(data):], offset+int64(len(data))
	}
	return nil
}

// newSlot returns a place for a record.
func (s *File) newSlot() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots++
	return s.slots - 1
}

func (s *File) extend(more Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have.Add(more)
}

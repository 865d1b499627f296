package spool

import (
	"cmp"
	"slices"
)

// Span is a stretch of a file: the bytes from First on, up to End and without it.
type Span struct{ First, End int64 }

// Empty says that there is nothing in it.
func (s Span) Empty() bool { return s.End <= s.First }

// Spans are stretches in order, of which no two touch.
type Spans []Span

// Add joins a stretch with what it touches.
func (s *Spans) Add(more Span) {
	if more.Empty() {
		return
	}
	from, _ := slices.BinarySearchFunc(*s, more.First, func(one Span, first int64) int { return cmp.Compare(one.End, first) })
	to := from
	for to < len(*s) && (*s)[to].First <= more.End {
		more.First, more.End = min(more.First, (*s)[to].First), max(more.End, (*s)[to].End)
		to++
	}
	*s = slices.Replace(*s, from, to, more)
}

// Remove takes a stretch out.
func (s *Spans) Remove(gone Span) {
	if gone.Empty() {
		return
	}
	var left Spans
	for _, one := range *s {
		for _, part := range []Span{{one.First, min(one.End, gone.First)}, {max(one.First, gone.End), one.End}} {
			if !part.Empty() {
				left = append(left, part)
			}
		}
	}
	*s = left
}

// covered returns up to where everything from an offset on is in s: the offset itself if nothing is.
func (s Spans) covered(at int64) int64 {
	for _, one := range s {
		if one.First <= at && at < one.End {
			return one.End
		}
	}
	return at
}

// next returns where the first stretch behind an offset begins, or end.
func (s Spans) next(at, end int64) int64 {
	for _, one := range s {
		if one.First > at {
			return min(one.First, end)
		}
	}
	return end
}

// Length returns how many bytes are in s.
func (s Spans) Length() (n int64) {
	for _, one := range s {
		n += one.End - one.First
	}
	return n
}

// gap returns the first stretch within a file that is in none of the sets, an empty one if there is none.
func gap(size int64, sets ...Spans) Span {
	var at int64
	for moved := true; moved; {
		moved = false
		for _, s := range sets {
			if end := s.covered(at); end > at {
				at, moved = end, true
			}
		}
	}
	end := size
	for _, s := range sets {
		end = s.next(at, end)
	}
	return Span{at, end}
}

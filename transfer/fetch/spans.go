package fetch

import (
	"cmp"
	"slices"
)

// span is a stretch of a file: the bytes from first on, up to end and without it.
type span struct{ first, end int64 }

func (s span) empty() bool { return s.end <= s.first }

// spans are stretches in order, of which no two touch.
type spans []span

// add joins a stretch with what it touches.
func (s *spans) add(more span) {
	if more.empty() {
		return
	}
	from, _ := slices.BinarySearchFunc(*s, more.first, func(one span, first int64) int { return cmp.Compare(one.end, first) })
	to := from
	for to < len(*s) && (*s)[to].first <= more.end {
		more.first, more.end = min(more.first, (*s)[to].first), max(more.end, (*s)[to].end)
		to++
	}
	*s = slices.Replace(*s, from, to, more)
}

// remove takes a stretch out.
func (s *spans) remove(gone span) {
	if gone.empty() {
		return
	}
	var left spans
	for _, one := range *s {
		for _, part := range []span{{one.first, min(one.end, gone.first)}, {max(one.first, gone.end), one.end}} {
			if !part.empty() {
				left = append(left, part)
			}
		}
	}
	*s = left
}

// covered returns up to where everything from an offset on is in s: the offset itself if nothing is.
func (s spans) covered(at int64) int64 {
	for _, one := range s {
		if one.first <= at && at < one.end {
			return one.end
		}
	}
	return at
}

// next returns where the first stretch behind an offset begins, or end.
func (s spans) next(at, end int64) int64 {
	for _, one := range s {
		if one.first > at {
			return min(one.first, end)
		}
	}
	return end
}

// length returns how many bytes are in s.
func (s spans) length() (n int64) {
	for _, one := range s {
		n += one.end - one.first
	}
	return n
}

// gap returns the first stretch within a file that is in none of the sets, an empty one if there is none.
func gap(size int64, sets ...spans) span {
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
	return span{at, end}
}

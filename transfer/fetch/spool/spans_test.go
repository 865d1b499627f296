package spool

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSpans compares with a map of bytes.
func TestSpans(t *testing.T) {
	const size = 40
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var s Spans
		var bytes [size]bool
		for range 12 {
			first := random.Int64N(size)
			one := Span{first, first + random.Int64N(size+1-first)}
			in := random.IntN(3) > 0
			if in {
				s.Add(one)
			} else {
				s.Remove(one)
			}
			for i := one.First; i < one.End; i++ {
				bytes[i] = in
			}
			compare(t, s, bytes[:])
		}
	}
}

func compare(t *testing.T, s Spans, bytes []bool) {
	t.Helper()
	var want Spans
	for i, in := range bytes {
		switch last := len(want) - 1; {
		case !in:
		case last >= 0 && want[last].End == int64(i):
			want[last].End++
		default:
			want = append(want, Span{int64(i), int64(i) + 1})
		}
	}
	if !slices.Equal(s, want) {
		t.Fatalf("got %v, want %v", s, want)
	}
	for i := range bytes {
		end := i + max(slices.Index(append(slices.Clone(bytes[i:]), false), false), 0)
		if got := s.covered(int64(i)); got != int64(end) {
			t.Fatalf("%v covers from %d to %d, want %d", s, i, got, end)
		}
	}
}

func TestGap(t *testing.T) {
	for _, tt := range []struct {
		have, claimed Spans
		want          Span
	}{
		{nil, nil, Span{0, 100}},
		{Spans{{0, 10}}, nil, Span{10, 100}},
		{Spans{{10, 20}}, nil, Span{0, 10}},
		{Spans{{0, 10}, {20, 30}}, Spans{{10, 15}}, Span{15, 20}},
		{Spans{{0, 10}, {20, 30}}, Spans{{10, 20}}, Span{30, 100}},
		{Spans{{0, 10}}, Spans{{10, 50}, {60, 100}}, Span{50, 60}},
		{Spans{{0, 50}}, Spans{{50, 100}}, Span{100, 100}},
		{Spans{{0, 100}}, nil, Span{100, 100}},
	} {
		if got := gap(100, tt.have, tt.claimed); got != tt.want {
			t.Errorf("gap of %v and %v is %v, want %v", tt.have, tt.claimed, got, tt.want)
		}
	}
}

package fetch

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
		var s spans
		var bytes [size]bool
		for range 12 {
			first := random.Int64N(size)
			one := span{first, first + random.Int64N(size+1-first)}
			in := random.IntN(3) > 0
			if in {
				s.add(one)
			} else {
				s.remove(one)
			}
			for i := one.first; i < one.end; i++ {
				bytes[i] = in
			}
			compare(t, s, bytes[:])
		}
	}
}

func compare(t *testing.T, s spans, bytes []bool) {
	t.Helper()
	var want spans
	for i, in := range bytes {
		switch last := len(want) - 1; {
		case !in:
		case last >= 0 && want[last].end == int64(i):
			want[last].end++
		default:
			want = append(want, span{int64(i), int64(i) + 1})
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
		have, claimed spans
		want          span
	}{
		{nil, nil, span{0, 100}},
		{spans{{0, 10}}, nil, span{10, 100}},
		{spans{{10, 20}}, nil, span{0, 10}},
		{spans{{0, 10}, {20, 30}}, spans{{10, 15}}, span{15, 20}},
		{spans{{0, 10}, {20, 30}}, spans{{10, 20}}, span{30, 100}},
		{spans{{0, 10}}, spans{{10, 50}, {60, 100}}, span{50, 60}},
		{spans{{0, 50}}, spans{{50, 100}}, span{100, 100}},
		{spans{{0, 100}}, nil, span{100, 100}},
	} {
		if got := gap(100, tt.have, tt.claimed); got != tt.want {
			t.Errorf("gap of %v and %v is %v, want %v", tt.have, tt.claimed, got, tt.want)
		}
	}
}

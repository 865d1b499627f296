package fetch

import (
	"slices"
	"testing"
)

// A part is the lead's if it goes on with its connection, and nobody has a connection for it yet.
func TestClaims(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name   string
		offset int64 // of lead, in MiB like all else
		have   spans
		claims []*claim
		lead   bool
		want   span
		left   int // claims of others that stay
		moved  bool
	}{
		{"the first", 0, nil, nil, true, span{0, 8}, 0, false},
		{"a helper", 0, nil, []*claim{{left: span{0, 10}}}, false, span{10, 16}, 1, false},
		{"small at the end", 0, spans{{0, 48}}, nil, false, span{48, 49}, 0, false},
		{"not beyond what is there", 0, spans{{3, 10}}, nil, false, span{0, 3}, 0, false},
		{"goes on", 10, spans{{0, 10}}, nil, true, span{10, 16}, 0, false},
		{"takes a part away", 10, spans{{0, 10}}, []*claim{{left: span{10, 18}}, {left: span{18, 26}}}, true, span{10, 14}, 1, false},
		{"leaves what has begun", 10, spans{{0, 11}}, []*claim{{left: span{11, 18}, begun: true}, {left: span{18, 26}}}, true, span{26, 30}, 2, true},
		{"leaves what is there", 10, spans{{0, 20}}, nil, true, span{20, 25}, 0, true},
		{"nothing is left", 10, spans{{0, 20}}, []*claim{{left: span{20, 50}, begun: true}}, true, span{50, 50}, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.have {
				tt.have[i] = span{tt.have[i].first * mib, tt.have[i].end * mib}
			}
			for _, c := range tt.claims {
				c.left = span{c.left.first * mib, c.left.end * mib}
			}
			p := &parallel{lead: &remote{offset: tt.offset * mib}, claims: slices.Clone(tt.claims)}
			p.spool = &spool{entity: entity{Size: 50 * mib}, have: tt.have}
			got := p.next(tt.lead)
			if got.first != tt.want.first*mib || got.end/mib != tt.want.end {
				t.Errorf("got %d-%d MiB, want %v", got.first/mib, got.end/mib, tt.want)
			}
			if len(p.claims) != tt.left || p.moved != tt.moved || p.lead.bounded != tt.moved {
				t.Errorf("%d claims are left, moved: %v", len(p.claims), p.moved)
			}
			for _, c := range tt.claims {
				if c.lost == slices.Contains(p.claims, c) {
					t.Errorf("claim %v is lost: %v", c.left, c.lost)
				}
			}
		})
	}
}

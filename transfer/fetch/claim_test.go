package fetch

import (
	"path/filepath"
	"slices"
	"testing"

	"berth/transfer/fetch/spool"
)

const mib = 1 << 20

// mibs is a stretch of a file in MiB.
func mibs(first, end int64) spool.Span { return spool.Span{First: first * mib, End: end * mib} }

// filled makes a spool of a file of 50 MiB that has a stretch of it.
func filled(t *testing.T, have spool.Span) *spool.File {
	t.Helper()
	s, err := spool.Open(filepath.Join(t.TempDir(), "spool"), "u")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(50*mib, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	lane := s.Lane()
	for at := have.First; at < have.End; at += mib {
		if err := lane.Write(make([]byte, mib), at); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A part is the lead's if it goes on with its connection, and nobody has a connection for it yet.
func TestClaims(t *testing.T) {
	waiting := func(first, end int64) *claim { return &claim{left: mibs(first, end)} }
	begun := func(first, end int64) *claim { return &claim{left: mibs(first, end), begun: true} }
	for _, tt := range []struct {
		name   string
		lead   int64 // where lead is, in MiB, or -1 for a helper
		have   spool.Span
		claims []*claim
		want   spool.Span // rounded down to MiB
		left   int        // claims of others that stay
		moved  bool
	}{
		{"the first", 0, mibs(0, 0), nil, mibs(0, 8), 0, false},
		{"a helper", -1, mibs(0, 0), []*claim{waiting(0, 10)}, mibs(10, 16), 1, false},
		{"small at the end", -1, mibs(0, 48), nil, mibs(48, 49), 0, false},
		{"not beyond what is there", -1, mibs(3, 10), nil, mibs(0, 3), 0, false},
		{"goes on", 10, mibs(0, 10), nil, mibs(10, 16), 0, false},
		{"takes a part away", 10, mibs(0, 10), []*claim{waiting(10, 18), waiting(18, 26)}, mibs(10, 14), 1, false},
		{"leaves what has begun", 10, mibs(0, 11), []*claim{begun(11, 18), waiting(18, 26)}, mibs(26, 30), 2, true},
		{"leaves what is there", 10, mibs(0, 20), nil, mibs(20, 25), 0, true},
		{"nothing is left", 10, mibs(0, 20), []*claim{begun(20, 50)}, mibs(50, 50), 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &parallel{lead: &remote{offset: tt.lead * mib}, claims: slices.Clone(tt.claims), spool: filled(t, tt.have)}
			got := p.next(tt.lead >= 0)
			if got.First != tt.want.First || got.End/mib*mib != tt.want.End {
				t.Errorf("got %d-%d, want %d-%d", got.First, got.End, tt.want.First, tt.want.End)
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

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

// A part is lead's if it goes on with its connection, and nobody has another one for it yet.
func TestClaims(t *testing.T) {
	waiting := func(first, end int64) *claim { return &claim{left: mibs(first, end)} }
	begun := func(first, end int64) *claim { return &claim{left: mibs(first, end), begun: true} }
	const helper = -1
	for _, tt := range []struct {
		name   string
		lead   int64 // where lead is, in MiB, or helper
		have   spool.Span
		claims []*claim
		want   spool.Span // rounded down to MiB, empty for none
		left   int        // claims of others that stay
	}{
		{"the first", 0, mibs(0, 0), nil, mibs(0, 8), 0},
		{"a helper", helper, mibs(0, 0), []*claim{waiting(0, 10)}, mibs(10, 16), 1},
		{"small at the end", helper, mibs(0, 48), nil, mibs(48, 49), 0},
		{"not beyond what is there", helper, mibs(3, 10), nil, mibs(0, 3), 0},
		{"half of the largest", helper, mibs(0, 10), []*claim{begun(10, 14), begun(14, 50)}, mibs(32, 50), 2},
		{"nothing to halve", helper, mibs(0, 48), []*claim{begun(48, 49), begun(49, 50)}, mibs(0, 0), 2},
		{"goes on", 10, mibs(0, 10), nil, mibs(10, 16), 0},
		{"takes a part away", 10, mibs(0, 10), []*claim{waiting(10, 18), waiting(18, 26)}, mibs(10, 14), 1},
		{"rests for what has begun", 10, mibs(0, 11), []*claim{begun(11, 18), waiting(18, 26)}, mibs(0, 0), 2},
		{"rests for what is there", 10, mibs(0, 20), nil, mibs(0, 0), 0},
		{"all is there", 50, mibs(0, 50), nil, mibs(0, 0), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &parallel{lead: &remote{offset: tt.lead * mib}, claims: slices.Clone(tt.claims), spool: filled(t, tt.have)}
			next := p.claimNext
			if tt.lead == helper {
				next = p.claimAny
			}
			var got spool.Span
			mine := next()
			if mine != nil {
				got = mine.left
			}
			if got.First != tt.want.First || got.End/mib*mib != tt.want.End {
				t.Errorf("got %d-%d, want %d-%d", got.First, got.End, tt.want.First, tt.want.End)
			}
			others := slices.DeleteFunc(slices.Clone(p.claims), func(c *claim) bool { return c == mine })
			if len(others) != tt.left {
				t.Errorf("%d claims are left", len(others))
			}
			for _, c := range tt.claims {
				if c.lost == slices.Contains(others, c) {
					t.Errorf("claim %v is lost: %v", c.left, c.lost)
				}
				if mine != nil && !c.lost && c.left.First < got.End && c.left.End > got.First {
					t.Errorf("%v and %v are the same", c.left, got)
				}
			}
		})
	}
}

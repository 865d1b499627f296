package machined

import "testing"

func TestParseNotice(t *testing.T) {
	for text, want := range map[string]notice{
		"":                         {},
		"READY=1":                  {ready: true},
		"READY=0\nSTATUS=starting": {},
		"STATUS=Container running.\nX_NSPAWN_LEADER_PID=77\n": {leader: 77},
		"X_NSPAWN_LEADER_PID=77\nREADY=1":                     {leader: 77, ready: true},
		"X_NSPAWN_LEADER_PID=1":                               {},
		"X_NSPAWN_LEADER_PID=-5":                              {},
		"X_NSPAWN_LEADER_PID=99999999999":                     {},
	} {
		if got := parseNotice(text); got != want {
			t.Errorf("parseNotice(%q) = %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add("X_NSPAWN_LEADER_PID=77\nREADY=1")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseNotice(text); n.leader < 0 || n.leader == 1 {
			t.Errorf("leader %d", n.leader)
		}
	})
}

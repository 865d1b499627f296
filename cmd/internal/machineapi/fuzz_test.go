package machineapi

import (
	"encoding/json"
	"math"
	"testing"

	"berth/machined"
)

// A process comes from anybody who can connect, in three forms.
func FuzzProcess(f *testing.F) {
	for _, seed := range []string{
		`0`, `"1"`, `{"pid":1,"pidfdId":2,"bootId":"x"}`, `null`, `-1`, `1e3`, `{"pid":{}}`, `[`, `{"pid":1}{`, `"null"`, `18446744073709551616`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p process
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		if p.PID < 0 || p.PID > math.MaxInt32 || !p.given && p.ProcessID != (ProcessID{}) {
			t.Errorf("%q: %+v", text, p)
		}
	})
}

// A question comes from whatever program of the host looks a name up.
func FuzzResolution(f *testing.F) {
	f.Add("x.foo.", uint16(1))
	f.Add("..", uint16(28))
	f.Add("FOO", uint16(1))
	f.Fuzz(func(t *testing.T, name string, kind uint16) {
		r := resolution{
			machines:  map[string]machined.Machine{"foo": {Name: "foo"}, "a.b": {Name: "a.b"}},
			addresses: fakeAddresses, done: map[string]bool{}, records: []dnsRecord{},
		}
		if err := r.ask(t.Context(), dnsKey{Type: kind, Name: name}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := json.Marshal(r.answer()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	})
}

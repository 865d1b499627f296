package busguard

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

var _ dbus.SerialGenerator = (*Serials)(nil)

func TestSerialsStayBelow(t *testing.T) {
	s := Serials{last: FirstSerial - 3}
	var got []uint32
	for range 4 {
		got = append(got, s.GetSerial())
	}
	if want := []uint32{FirstSerial - 2, FirstSerial - 1, 1, 2}; [4]uint32(got) != [4]uint32(want) {
		t.Errorf("serials %v, want %v", got, want)
	}
	s.RetireSerial(1)
	s.last = 0
	if got := []uint32{s.GetSerial(), s.GetSerial()}; got[0] != 1 || got[1] != 3 {
		t.Errorf("serials %v, want those that nobody uses", got)
	}
}

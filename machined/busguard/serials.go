package busguard

import "sync"

// Serials numbers the messages of the library, so that none has a number of
// [FirstSerial] or above. It is a dbus.SerialGenerator.
type Serials struct {
	mu   sync.Mutex
	last uint32
	used map[uint32]struct{}
}

// GetSerial gives a number that is not in use.
func (s *Serials) GetSerial() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = make(map[uint32]struct{})
	}
	for {
		if s.last++; s.last == FirstSerial {
			s.last = 1
		}
		if _, taken := s.used[s.last]; !taken {
			s.used[s.last] = struct{}{}
			return s.last
		}
	}
}

// RetireSerial makes a number free.
func (s *Serials) RetireSerial(serial uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, serial)
}

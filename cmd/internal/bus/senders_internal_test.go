package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// Each match rule is taken back once, whatever comes first: that it was made, or
// that the sender left.
func TestMatchRuleIsTakenBackOnce(t *testing.T) {
	for what, steps := range map[string]func(s *senders, from *sender) error{
		"made, left": func(s *senders, from *sender) error { return s.watch(from) },
		"left, made": func(s *senders, from *sender) error {
			if s.drop(from) {
				return errors.New("a rule is taken back that was never made")
			}
			if err := s.watch(from); !errors.Is(err, errLeft) {
				return fmt.Errorf("a sender that left is watched: %w", err)
			}
			return nil
		},
	} {
		s := senders{byName: map[string]*sender{}}
		from, ok := s.enter(context.Background(), ":1.5")
		if !ok {
			t.Fatal("no room")
		}
		if err := steps(&s, from); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if first, second := s.drop(from), s.drop(from); !first || second {
			t.Errorf("%s: the rule is taken back first %v and then %v", what, first, second)
		}
		if again, _ := s.enter(context.Background(), ":1.5"); again == from {
			t.Errorf("%s: who left is known still", what)
		} else if s.drop(from); s.find(":1.5") != again {
			t.Errorf("%s: the next of that name is dropped too", what)
		}
	}
}

package importd

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// Join begins a transfer like [Manager.Start], but refuses no pull of a URL that
// is being pulled. If that pull makes exactly what r asks for, it is returned, and
// joined is true; else the new one waits until it is over, and then makes use of
// the copy that it has kept, if it has kept one.
func (m *Manager) Join(r Request) (t *Transfer, joined bool, err error) {
	return m.begin(r, join)
}

// repetition decides about a request for what its rivals, oldest first, are
// pulling. It returns one of them to be used in its place, or why it is refused,
// or nothing to let it wait.
type repetition func(rivals []*Transfer, r *Request) (*Transfer, error)

func refuse(rivals []*Transfer, r *Request) (*Transfer, error) {
	return nil, fmt.Errorf("pull %q: %w as transfer %d", r.Remote, ErrInProgress, rivals[0].id)
}

// join passes over what somebody has canceled: that was not meant for this request.
func join(rivals []*Transfer, r *Request) (*Transfer, error) {
	for _, t := range rivals {
		if reflect.DeepEqual(t.request, *r) && !t.canceled() {
			return t, nil
		}
	}
	return nil, nil
}

// rivals returns the pulls of the same form of the same URL, oldest first. They
// share a kept copy and a spool, so that only one of them runs at a time. It needs
// m.mu.
func (m *Manager) rivals(r *Request) (rivals []*Transfer) {
	if !r.Kind.Pull() {
		return nil
	}
	for _, t := range m.transfers {
		if t.request.Kind == r.Kind && t.request.Remote == r.Remote {
			rivals = append(rivals, t)
		}
	}
	slices.SortFunc(rivals, func(a, b *Transfer) int { return cmp.Compare(a.id, b.id) })
	return rivals
}

// advance starts the oldest of the pulls that have waited for one that is over.
// It needs m.mu.
func (m *Manager) advance(over *Request) {
	for _, t := range m.rivals(over) {
		err := m.launch(t, t.request)
		if err == nil {
			return
		}
		m.tell(t, LogLine{PriorityError, err.Error()})
		m.remove(t, err)
	}
}

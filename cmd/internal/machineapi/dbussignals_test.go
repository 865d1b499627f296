package machineapi

import (
	"slices"
	"testing"
	"testing/synctest"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/machined"
)

func TestDeclarationsFitTheirHandlers(t *testing.T) {
	b := &Bus{Service: &Service{}}
	for _, in := range []*bus.Interface{
		b.busManager(), b.machineObject(machined.Machine{}), b.imageObject(images.Image{}),
	} {
		if err := in.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestMissedSignalsAreMadeUpFor(t *testing.T) {
	n := newNews()
	for _, name := range []string{"a", "b", "c"} {
		n.announced(name)
	}
	n.removed("b")
	added, gone := n.missed([]string{"c", "d"})
	if !slices.Equal(added, []string{"d"}) || !slices.Equal(gone, []string{"a"}) {
		t.Errorf("added %q, gone %q", added, gone)
	}
}

// What an earlier daemon has announced is not missed, and what it could not take
// back is told once.
func TestEarlierSignalsCount(t *testing.T) {
	n := newNews()
	machine := func(name string, class machined.Class) machined.Machine {
		return machined.Machine{Name: name, Class: class}
	}
	n.earlier([]machined.Machine{machine(".host", machined.ClassHost), machine("a", machined.ClassVM), machine("b", machined.ClassVM)}, []string{"c"})
	added, gone := n.missed([]string{"a", "d"})
	if !slices.Equal(added, []string{"d"}) || !slices.Equal(gone, []string{"b"}) {
		t.Errorf("added %q, gone %q", added, gone)
	}
	if first, second := n.takeGone(), n.takeGone(); !slices.Equal(first, []string{"c"}) || len(second) > 0 {
		t.Errorf("ended are %q and %q", first, second)
	}
}

func TestRegistrationWaitsForItsSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Bus{news: newNews()}
		registered := false
		go func() {
			if err := b.awaitSignal(t.Context(), "foo", func() error { return nil }); err != nil {
				t.Error(err)
			}
			registered = true
		}()
		b.news.announced("other")
		synctest.Wait()
		if registered {
			t.Error("did not wait for the signal")
		}
		b.news.announced("foo")
		synctest.Wait()
		if !registered {
			t.Error("the signal did not end the waiting")
		}
		if err := b.awaitSignal(t.Context(), "foo", func() error { return machined.ErrMachineExists }); err == nil {
			t.Error("an error got lost")
		}
		if len(b.news.waiting) != 0 {
			t.Errorf("left over: %v", b.news.waiting)
		}
	})
}

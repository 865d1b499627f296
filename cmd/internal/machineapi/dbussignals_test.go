package machineapi

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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

// A registration whose signal was lost is answered all the same.
func TestRegistrationWhoseSignalWasLost(t *testing.T) {
	m, err := machined.New(machined.Config{StateDir: t.TempDir(), RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := &Bus{Service: &Service{Manager: m}, news: newNews()}
	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	if err := b.awaitSignal(ctx, "brief", func() error {
		b.signal(machined.Event{Kind: machined.EventLost}) // it has come and gone by then
		return nil
	}); err != nil || ctx.Err() != nil {
		t.Errorf("the answer came with %v, %v", err, ctx.Err())
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

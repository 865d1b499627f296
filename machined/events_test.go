package machined

import (
	"strconv"
	"testing"
)

func TestSlowSubscriberStopsNobody(t *testing.T) {
	var b broadcaster
	release := make(chan struct{})
	slow := make(chan Event, 2*maxPending)
	started := make(chan struct{}, 2*maxPending)
	b.subscribe(func(e Event) {
		started <- struct{}{}
		<-release
		slow <- e
	})
	fast, subscribe := record(t)
	b.subscribe(subscribe)
	b.publish(Event{EventNew, "first"})
	<-started
	for i := range maxPending + 2 {
		b.publish(Event{EventNew, strconv.Itoa(i)})
		<-fast
	}
	close(release)
	b.close()
	close(slow)
	var got []Event
	for e := range slow {
		got = append(got, e)
	}
	last := maxPending + 1
	want := []Event{{EventNew, "first"}, {EventLost, ""}, {EventNew, strconv.Itoa(last - 1)}, {EventNew, strconv.Itoa(last)}}
	if len(got) != len(want) {
		t.Fatalf("%d events: %v …", len(got), got[:min(len(got), 5)])
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestCancelFromWithin(t *testing.T) {
	var b broadcaster
	seen := make(chan Event, 10)
	var cancel func()
	ready := make(chan struct{})
	cancel = b.subscribe(func(e Event) {
		<-ready
		cancel()
		seen <- e
	})
	close(ready)
	b.publish(Event{EventNew, "a"})
	<-seen
	b.publish(Event{EventNew, "b"})
	b.close()
	cancel()
	noEvent(t, seen)
	b.subscribe(func(Event) { t.Error("called after close") })
	b.publish(Event{EventNew, "c"})
}

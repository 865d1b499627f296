package machined

import (
	"runtime"
	"testing"
)

func TestProcessWatch(t *testing.T) {
	w, err := newProcessWatch(logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 10)
	before := runtime.NumGoroutine()
	var all []*Process
	for range 5 {
		p := sleeper(t)
		all = append(all, p)
		if _, err := w.add(p, func() { ended <- p.PID }); err != nil {
			t.Fatal(err)
		}
	}
	cancelled := sleeper(t)
	cancel, err := w.add(cancelled, func() { t.Error("called after cancel") })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	cancel()
	killed(t, cancelled)
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines for 6 processes", now-before)
	}
	for _, p := range all {
		killed(t, p)
		if pid := <-ended; pid != p.PID {
			t.Errorf("process %d ended, want %d", pid, p.PID)
		}
	}
	dead := all[0]
	if _, err := w.add(dead, func() { ended <- dead.PID }); err != nil {
		t.Fatal(err)
	}
	if pid := <-ended; pid != dead.PID {
		t.Errorf("process %d ended, want %d", pid, dead.PID)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.add(sleeper(t), func() {}); err == nil {
		t.Error("add succeeded after close")
	}
}

package main

import (
	"runtime"
	"testing"
)

func TestLimitProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	limitProcessors(func(name string) string { return map[string]string{"GOMAXPROCS": "3"}[name] })
	if got := runtime.GOMAXPROCS(0); got != 3 {
		t.Errorf("%d processors, the administrator said 3", got)
	}
	limitProcessors(func(string) string { return "" })
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("%d processors, want 1", got)
	}
}

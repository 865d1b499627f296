package main

import "runtime"

// limitProcessors has the daemon run on one processor, unless the administrator has
// said on how many. A call goes through several goroutines one after the other;
// with more processors each hands over to another thread, which has to wake up.
func limitProcessors(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

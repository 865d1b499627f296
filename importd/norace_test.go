//go:build !race

package importd_test

// raceEnabled tells that the race detector multiplies the memory of everything.
const raceEnabled = false

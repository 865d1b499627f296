//go:build !race

package importapi_test

// raceEnabled tells that the race detector makes every process slow to start.
const raceEnabled = false

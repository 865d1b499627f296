// Package unitstest holds what every backend of [machined.Units] must do, as
// one suite of tests with real processes, and [Fake], a backend in memory.
package unitstest

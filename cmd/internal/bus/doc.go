// Package bus serves D-Bus objects: it keeps a connection and a name on a
// message bus, finds the object of a call in a [Tree] that may change at any
// time, checks the call against what the object declares, and runs its handler.
//
// An [Interface] is declared in Go, with the handlers as plain functions of
// typed arguments; introspection data is made of the same declaration.
//
// A host may have no bus, or get one later, or lose it: [Service.Run] waits and
// connects again. Everything else of a daemon works meanwhile.
package bus

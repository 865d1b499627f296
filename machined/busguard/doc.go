// Package busguard stands between a message bus and the D-Bus library, and lets
// through only what the library can read.
//
// The library decodes a message before any policy of ours sees it, on a goroutine
// of its own: what makes it panic ends the process, what it takes for an error
// ends the connection, and what it loses may be an open file. A message that the
// bus lets pass can do each of these (an array of descriptors, a dictionary whose
// keys are booleans, a descriptor that no value refers to), and whoever may talk to
// us may send it. A bus that is itself a stranger, as in a machine, can do more.
//
// A [Guard] relays: it takes over the socket of the bus and gives the library one
// end of a socket pair. Messages pass whole and in order, with their descriptors,
// and one waits for the other side like on a plain socket. Every message from the
// bus is walked once by its signature. One that is refused is answered with an
// error, so that nobody waits for a reply in vain.
package busguard

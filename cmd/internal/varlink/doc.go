// Package varlink speaks the Varlink protocol over AF_UNIX stream sockets, as
// server and as client.
//
// A message is one JSON object followed by a NUL byte; file descriptors travel
// beside the bytes as SCM_RIGHTS. A call names a method, "interface.Method",
// and may ask for more than one reply ("more") or for none ("oneway").
//
// The server is given the text of an interface description and the handlers of
// its methods. It refuses whatever the description does not allow before a
// handler sees it, so handlers only judge values. Calls of one connection are
// answered one after the other in the order in which they came; connections do
// not wait for each other.
//
// Foreign bytes are bounded: see [MaxMessage], [MaxFDs] and [MaxDepth], and
// [Options] for the number of connections.
package varlink

// Package fetch reads a URL as one stream: http, https and file.
//
// A [Download] delivers the bytes of one version of a file, from the first to the last, whatever happens to the
// connections below it. When one is lost, stalls, or the server answers with a temporary failure, the download waits
// and goes on with "Range: bytes=N-" and "If-Range". Bytes of two versions are never mixed: where the server has no
// strong ETag and no usable Last-Modified, a download that has begun is not resumed, and a file that changes in the
// middle ends it with [ErrChanged]. The bytes are those that the server stores: compression of the transport is not
// asked for, and Content-Encoding is not undone, as checksums are made of what is stored.
//
// What HTTP cannot tell is not detected here: a body in a connection that ends exactly where Content-Length says is
// complete, whatever the server sends after it.
//
// # Spool
//
// So that a later process can go on, what is received can be kept in a spool file, as long as the server can resume.
// Its first 4096 bytes are a header (a magic, then JSON: the hash of the URL, validators and size), after which come
// frames of 4 bytes length, 4 bytes CRC-32C of the data, and the data, little-endian. Each read from the network is
// appended at once as one frame, so that nothing received is lost with the process; nothing is synced, as a damaged
// frame after a crash of the machine is found by its checksum when it is replayed, and fetched again from there. The
// file is held by flock while in use. Its content is as trustworthy as the server; it does not replace verification.
package fetch

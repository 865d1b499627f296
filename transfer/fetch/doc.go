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
// So that a later process can go on, what is received can be kept in a spool file (berth/transfer/fetch/spool), as long
// as the server can resume.
//
// # Several connections
//
// Where one connection brings less than 32 MiB/s, more than 8 MiB are missing and there is a spool, up to five others
// fetch parts of the file into the spool, from which they are read in order. They speak HTTP/1.1, so that each is a
// connection of its own, ask for the version of the first response by If-Range, and take no part with other validators.
// The first connection is not given up for a part before its server has agreed to send it, and a server that refuses
// parts, or has another version behind another connection, is read over the first one to the end.
package fetch

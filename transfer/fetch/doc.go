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
// as the server can resume. Behind the first 16 MiB it has gaps where the download, with all that is done with it, was
// faster than 200 MiB/s: such bytes come again sooner than a disk has them.
//
// # Several connections
//
// Where one connection brings less than 32 MiB/s, more than 8 MiB are missing and there is a spool, others fetch parts of
// the file into the spool, from which they are read in order; six are at work at most. They speak HTTP/1.1, so that each
// is a connection of its own, ask for the version of the first response by If-Range, and take no part that does not carry
// its validator. The first connection is not given up for them: where they have taken what it would bring next it rests,
// and where they fail, or are slower than it was, it is read on, unless the server gives another one in its place. So
// servers that refuse parts, at once or later, or have another version behind another connection, cost time and not the
// download. Only one that closes a connection for resting long, and then refuses to go on, loses it.
package fetch

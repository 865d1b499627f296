// Package spool keeps what has come of a file that is being downloaded, so that a later process can go on.
//
// A spool is a sparse file. Its first 4096 bytes are a header: a magic, then JSON with the hash of the URL, the size, and
// what the downloader says about this version of the file. The file follows, as far as it has come, each byte at its
// place; and behind that place, at a multiple of 16, records of 16 bytes: offset (8), length (4, at most 1 MiB) and
// CRC-32C (4) of a stretch that is there, little-endian. One of length zero is void.
//
// What comes is written at once, so that nothing received is lost with the process; nothing is synced, as what a crash of
// the machine has damaged is found by its checksum when it is read, and forgotten. The file is held by flock while in
// use. Its content is as trustworthy as where it came from; it does not replace verification.
package spool

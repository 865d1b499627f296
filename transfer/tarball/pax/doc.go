// Package pax reads and writes the byte format of tar archives. It knows no file system.
//
// The reader takes every dialect found in images: V7, ustar, star, GNU (long names, base-256 numbers, old sparse
// files) and pax (with GNU sparse 0.0, 0.1 and 1.0). The writer emits ustar headers with pax records where ustar has
// no room, and sparse files in GNU's sparse 1.0 form.
//
// It exists beside archive/tar for three reasons: the map of a sparse file is handed out instead of a stream of
// zeros, so that a file of a terabyte with one written block costs one block; payload is handed out as slices of the
// read buffer, which saves a copy of every byte; and an archive that stops without its end marker is told from one
// that ends.
//
// Formats: POSIX.1-2017 pax, section "pax Interchange Format"; the GNU tar manual, appendix "Tar Internals";
// star(5) and libarchive's tar(5) for the SCHILY.* and LIBARCHIVE.* records.
package pax

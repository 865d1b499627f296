// Package compress decodes and encodes the compressed streams in which images
// travel: gzip, bzip2, xz and zstd, recognised by their first bytes.
//
// Decoding is strict where an image is at stake. Every member, stream, block and
// frame of the input is decoded, checksums are verified, and a stream that ends
// early is an error that wraps [io.ErrUnexpectedEOF]: a short image never looks
// whole. What follows the last member must be nothing, or zero bytes where the
// format allows padding (xz, in fours) or archive pipelines add it (gzip).
//
// gzip is decoded by [berth/transfer/compress/inflate].
//
// Of zstd a library decodes the blocks. The zeros of a disk image stand there in
// thousands of blocks of four bytes; these are read here, and whoever asks by
// [Reader.ReadSparse] is told of them and never gets them.
//
// bzip2 is decoded and encoded on two cores: its blocks can be found without
// decoding them, and a file may have many streams. So are xz files whose blocks
// tell their size, as those of `xz -T0`, and of xz 5.6 and later, do.
//
// xz decodes, and xz and bzip2 encode, several times faster in the host's own
// programs than in Go, so these run as children where they are installed; see
// [Tools]. A child gets no environment but the C locale, and is reaped by the
// Reader or the writer that started it. In a process confined by Landlock the
// directories of the programs and of their libraries (/usr, and /bin, /lib,
// /lib64 where those are no links into it) must be readable and executable;
// where they are not, decoding of xz goes on in Go.
//
// Memory is bounded whatever the input says: a stream may ask for a window of
// up to 128 MiB, what `xz -9` (64 MiB) and `zstd --long` (128 MiB, also the
// limit of zstd(1)) make; a bigger one is refused with [ErrMemory]. Ordinary
// files have windows of 8 MiB or less, and only these are meant by limits on
// the size of the whole process.
package compress

// Package cpio reads cpio archives: the ASCII forms newc (070701), crc (070702) and odc (070707), and the old binary
// form in both byte orders. It returns the entries of package pax, so that whoever takes tar takes cpio as well.
//
// A cpio archive does not say that an entry is a link of an earlier one: names with the same device and inode number
// are one file. In newc and crc the content comes with only one of them, as a rule the last. The reader holds back the
// names without content until it has come, and then returns them as hard links.
//
// Nothing in an archive is trusted: lengths are bounded before anything is allocated, and so is what is remembered of
// links. The names themselves are for the caller to check.
package cpio

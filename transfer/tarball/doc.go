// Package tarball unpacks tar and cpio archives into a directory and packs directories into tar archives, with all that makes up
// an operating system tree: owners, modes, extended attributes, POSIX ACLs, file flags, times to the nanosecond, hard
// links, holes and device nodes.
//
// Archives are foreign. Extract touches nothing outside its directory: every path is walked component by component
// from the directory's descriptor and no symbolic link is ever followed. An archive that asks for anything else is
// refused as a whole, at the entry that asks; what was unpacked until then is for the caller to remove.
//
// The byte formats are in packages pax and cpio.
package tarball

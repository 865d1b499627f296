// Package inflate decodes DEFLATE streams (RFC 1951), as gzip files have them,
// about twice as fast as decoders that take their input by the byte: the input is
// looked at eight bytes at a time, literals are decoded several at once, and
// matches are copied by words.
package inflate

// Package transfer joins the stages through which an image passes:
//
//	pull:    fetch -> Fan{verify.Hash, pipe} ... pipe -> compress -> tarball | disk
//	import:  file  -> compress -> tarball | disk
//	export:  tarball | disk -> compress -> file
//
// Each stage is a package of its own below this one and knows nothing of the
// others. The stages overlap: reading, hashing, decoding and writing run on
// goroutines of their own with a few large buffers between them, so that memory
// stays bounded whatever the size of the image.
//
// [Fan] hands one stream to several sinks, [Ahead] lets a stage run ahead of its
// reader, [Unpack] and [Pack] are the two directions of the whole.
package transfer

// Package images is the store of OS images on disk.
//
// An image is a named operating system tree: a directory, a btrfs subvolume, a
// raw disk file, a block device or a mount stack. Images are not registered
// anywhere; the directories are the data base, and every call reads them anew.
// [Store.List] and [Store.Find] read, the other methods of [Store] change one
// image under the locks that systemd-nspawn takes too.
//
// New images are made through [Pending]: an entry with a name that no listing
// shows, held by flock for as long as its writer lives, that gets its final name
// by one rename. What a dead writer leaves behind is told apart by its free
// flock, and [Sweep] removes it. Removal runs the same way backwards: first a
// rename to a hidden name, then the deletion.
//
// File names, locks and hidden names are those of the stock daemons, so that both
// can work on the same directories in turn.
package images

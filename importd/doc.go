// Package importd is the core of berth-importd: transfers of images as jobs. It
// knows no transport; D-Bus and Varlink are adapters over [Manager].
//
// One pull, from the call to the rename:
//
//	Manager.Join      validates the request, finds or waits for another pull
//	                  of the URL (Start refuses then)       request.go queue.go
//	                  and starts the worker                 manager.go worker.go
//	worker process    WorkerMain: reads its job, opens the pending image and
//	                  starts the unpacker, then enters its cage: image root and
//	                  network, nothing else                 stage.go
//	  pull            fetches checksum list, signature and image; hashes the
//	                  bytes as they come and hands them on  pull.go evidence.go
//	  unpacker        its child, caged without network and with the pending
//	                  image as the only place it can write  unpack.go
//	  commit          digest and signature agree, the unpacker ended well:
//	                  images.Pending.Commit renames          install.go
//	Manager           tells the subscribers, last of all that it is over
//
// The digest is computed and the rename done by the process that never decodes
// a byte, so that a decoder which was taken over can neither vouch for its input
// nor publish its output. Imports have no network at all and take the same way
// from the unpacker on; exports run the other way round in one caged process.
//
// Daemon and worker speak JSON over a socket pair ([message]). When either end
// dies the other sees the end of the stream: a worker without a daemon removes
// what it made and ends, a daemon without a worker sweeps the image root.
package importd

package importd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"berth/images"
)

// Names by which the daemon's binary knows that it is to be a worker. They are
// passed as argv[0], which no user can set through the daemon.
const (
	WorkerName   = "berth-worker"
	UnpackerName = "berth-unpack"
)

// controlFD is where a worker and an unpacker find their control stream.
const controlFD = 3

// maxMessages bounds what a stage may say, so that a stage which was taken over
// cannot fill the memory of the next.
const maxMessages = 64 << 20

// job is what the daemon tells a worker.
type job struct {
	Request   Request          `json:"request"`
	Locations images.Locations `json:"locations"`
	UserAgent string           `json:"userAgent"`
	// User is for images of one user.
	User bool `json:"user,omitempty"`
	// NoSync leaves out waiting for the disk.
	NoSync bool `json:"noSync,omitempty"`
	// NoSubvolumes makes plain directories of trees.
	NoSubvolumes bool `json:"noSubvolumes,omitempty"`
	// SizeMax bounds an image, compressed and uncompressed.
	SizeMax int64 `json:"sizeMax"`
}

// message is what a worker tells the daemon and an unpacker its worker; one
// field is set.
type message struct {
	Progress *float64 `json:"progress,omitempty"`
	Log      *LogLine `json:"log,omitempty"`
	Failure  *Failure `json:"failure,omitempty"`
	// Pending is the temporary name of the image in the making.
	Pending string `json:"pending,omitempty"`
}

// reporter sends messages from several goroutines.
type reporter struct {
	mu  sync.Mutex
	out *os.File
}

// send ignores a peer that is gone: the end of the stream tells the stage.
func (r *reporter) send(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.out.Write(append(line, '\n'))
}

func (r *reporter) log(priority int, format string, args ...any) {
	r.send(message{Log: &LogLine{priority, fmt.Sprintf(format, args...)}})
}

func (r *reporter) progress(p float64) { r.send(message{Progress: &p}) }

// messages calls each for every message until the stream ends.
func messages(in io.Reader, each func(message)) error {
	decoder := json.NewDecoder(io.LimitReader(in, maxMessages))
	for {
		var m message
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what the worker says: %w", err)
		}
		each(m)
	}
}

package machineapi

import (
	"context"
	"errors"
	"time"

	"berth/cmd/internal/varlink"
	"berth/images"
)

// copied is what CloneImage answers until it is done.
type copied struct {
	Copied int64 `json:"copied"`
	Total  int64 `json:"total,omitempty"` // 0: not known
}

// reportEvery is how often at most a client is told.
const reportEvery = 100 * time.Millisecond

// reports returns what tells a client how far its copy is, nil for a client that does not want to know.
func reports(call *varlink.Call) func(bytes, total int64) {
	if !call.More() {
		return nil
	}
	var told time.Time
	return func(bytes, total int64) {
		if now := time.Now(); now.Sub(told) >= reportEvery {
			told = now
			_ = call.Continue(copied{bytes, total}) // the copy ends with a client that is gone
		}
	}
}

// Clone copies an image. Ending ctx ends the copy. A stock machined goes on then, and tells of no progress.
func (c *Client) Clone(ctx context.Context, name, newName string, options images.CloneOptions) error {
	in := c.interactively(map[string]any{"name": name, "newName": newName, "readOnly": options.ReadOnly})
	err := c.cloneImage(ctx, in, options.Progress)
	if e, ok := errors.AsType[*varlink.Error](err); ok &&
		(e.Name == varlink.ErrorInterfaceNotFound || e.Name == varlink.ErrorMethodNotFound) { // of an earlier release
		_, err = c.conn.Call(ctx, imageName+".Clone", in, nil)
	}
	return explained(name, err)
}

func (c *Client) cloneImage(ctx context.Context, in map[string]any, progress func(copied, total int64)) error {
	const method = berthName + ".CloneImage"
	if progress == nil {
		_, err := c.conn.Call(ctx, method, in, nil)
		return err
	}
	for r, err := range c.conn.CallMore(ctx, method, in) {
		if err != nil {
			return err
		}
		r.Close()
		if !r.Continues {
			continue
		}
		var now copied
		if err := r.Decode(&now); err != nil {
			return err
		}
		progress(now.Copied, now.Total)
	}
	return nil
}

package importd

import (
	"context"
	"errors"
	"fmt"
)

// Do carries out one transfer for a caller that waits for it, without a manager:
// the same worker in the same cage. report is called for its messages and its
// progress, from one goroutine at a time. The caller keeps r.File and
// r.Direct.Output.
//
// When ctx ends, the transfer is canceled and what it made is removed.
func Do(ctx context.Context, c Config, r Request, report func(Event)) (err error) {
	if err := r.settle(c); err != nil {
		return err
	}
	if d := r.Direct; d != nil && d.Path != "" {
		release, err := openTarget(ctx, &r, &c)
		if err == nil {
			_, err = c.run(ctx, r, report)
		}
		return errors.Join(err, release(err == nil))
	}
	pending, err := c.run(ctx, r, report)
	c.clearUp(context.WithoutCancel(ctx), &r, pending, err != nil)
	return err
}

// run waits for a worker. pending is the temporary name of what it made last.
func (c *Config) run(ctx context.Context, r Request, report func(Event)) (pending string, err error) {
	w, err := startWorker(c.job(r))
	if err != nil {
		return "", fmt.Errorf("start a worker for %s: %w", r.Kind, err)
	}
	var killing func()
	asked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { killing = w.end(c.patience()); close(asked) })
	defer func() {
		if !stop() {
			<-asked
			killing()
		}
	}()
	err = w.follow(func(m message) {
		switch {
		case m.Progress != nil:
			report(Event{Kind: EventProgress, Transfer: Info{Progress: *m.Progress}})
		case m.Log != nil:
			report(Event{Kind: EventLog, Log: *m.Log})
		}
	})
	if err != nil && ctx.Err() != nil {
		return w.pending, ErrCanceled
	}
	return w.pending, err
}

// refuseDirect keeps a request of others from writing anywhere but to the store.
func (r *Request) refuseDirect() error {
	if r.Direct != nil || r.Source != "" {
		return &InvalidError{"direct", "it is for callers that have the files themselves"}
	}
	return nil
}

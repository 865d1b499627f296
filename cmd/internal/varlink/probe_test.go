package varlink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"syscall"

	"berth/cmd/internal/varlink"
)

func errorsAs(err error, target any) bool { return errors.As(err, target) }

func (p *probe) echo(_ context.Context, call *varlink.Call) error {
	var in struct {
		Text     string
		Anything loose
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	return call.Reply(map[string]string{"text": in.Text + in.Anything.text})
}

// loose takes strings and numbers, and refuses the rest.
type loose struct{ text string }

func (l *loose) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		return errors.New("no objects")
	}
	l.text = string(b)
	return nil
}

func (p *probe) fail(_ context.Context, call *varlink.Call) error {
	var in struct{ How string }
	if err := call.Parameters(&in); err != nil {
		return err
	}
	switch in.How {
	case "errno":
		return fmt.Errorf("remove image: %w", syscall.EROFS)
	case "named":
		return fmt.Errorf("wrapped: %w", &varlink.Error{Name: "org.example.probe.Odd", Parameters: map[string]string{"why": "so"}})
	case "marshal":
		return call.Reply(func() {})
	case "misfit":
		return call.Reply(map[string]string{"no": "such field"})
	case "twice":
		if err := call.Reply(nil); err != nil {
			return err
		}
		return call.Reply(nil)
	}
	return errors.New(in.How)
}

func (p *probe) count(_ context.Context, call *varlink.Call) error {
	var in struct{ To int }
	if err := call.Parameters(&in); err != nil {
		return err
	}
	type item struct {
		N int `json:"n"`
	}
	var items iter.Seq2[item, error] = func(yield func(item, error) bool) {
		for i := range in.To {
			if !yield(item{i + 1}, nil) {
				return
			}
		}
	}
	return varlink.ReplyEach(call, items, &varlink.Error{Name: "org.example.probe.Nothing"})
}

func (p *probe) note(context.Context, *varlink.Call) error {
	p.entered <- struct{}{}
	return nil
}

func (p *probe) block(ctx context.Context, _ *varlink.Call) error {
	p.entered <- struct{}{}
	<-ctx.Done()
	p.ended <- context.Cause(ctx)
	return ctx.Err()
}

// files answers with what is in the files that came with the call.
func (p *probe) files(_ context.Context, call *varlink.Call) error {
	content := []string{}
	for i := range call.FDs() {
		f, ok := call.TakeFD(i)
		if !ok {
			return errors.New("no such file")
		}
		text, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		content = append(content, string(text))
	}
	return call.Reply(map[string]any{"content": content})
}

// open answers with n read ends of pipes that say their number.
func (p *probe) open(_ context.Context, call *varlink.Call) (err error) {
	var in struct{ N int }
	if err := call.Parameters(&in); err != nil {
		return err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	for i := range in.N {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		files = append(files, r)
		if _, err := fmt.Fprint(w, i); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return call.Reply(nil, files...)
}

func (p *probe) flood(_ context.Context, call *varlink.Call) error {
	var in struct{ Size int }
	if err := call.Parameters(&in); err != nil {
		return err
	}
	for {
		if err := call.Continue(map[string]string{"data": strings.Repeat("x", in.Size)}); err != nil {
			p.floods <- err
			return err
		}
	}
}

func (p *probe) whoami(_ context.Context, call *varlink.Call) error {
	peer := call.Peer()
	return call.Reply(map[string]any{"uid": peer.UID, "pid": peer.PID, "pidfd": peer.PIDFD != nil})
}

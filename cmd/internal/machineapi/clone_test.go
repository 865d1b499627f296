package machineapi_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"
)

// patientStore begins a copy when nobody wants it any more, or when it may.
type patientStore struct {
	*images.Store
	begun, may chan struct{}
	ended      chan error
}

func (s patientStore) Clone(ctx context.Context, src images.Image, newName string, options images.CloneOptions) error {
	s.begun <- struct{}{}
	select {
	case <-ctx.Done():
	case <-s.may:
	}
	err := s.Store.Clone(ctx, src, newName, options)
	s.ended <- err
	return err
}

// Our client takes what it asked for along; a client of the stock daemon's method
// does not, as it never did.
func TestCloneOfAClientThatLeaves(t *testing.T) {
	store := patientStore{begun: make(chan struct{}), may: make(chan struct{}, 1), ended: make(chan error, 1)}
	h := newVarlinkHost(t, rootOnly, func(c *machined.Config) {
		store.Store = c.Images.(*images.Store)
		c.Images = store
	})
	h.addImage("tree")
	for _, c := range []struct {
		what string
		call func(context.Context, *machineapi.Client, *varlink.Client) error
		stay bool
	}{
		{"ours", func(ctx context.Context, ours *machineapi.Client, _ *varlink.Client) error {
			return ours.Clone(ctx, "tree", "ours", images.CloneOptions{})
		}, false},
		{"ours that wants to know", func(ctx context.Context, ours *machineapi.Client, _ *varlink.Client) error {
			return ours.Clone(ctx, "tree", "ours", images.CloneOptions{Progress: func(_, _ int64) {}})
		}, false},
		{"stock", func(ctx context.Context, _ *machineapi.Client, stock *varlink.Client) error {
			_, err := stock.Call(ctx, "io.systemd.MachineImage.Clone", map[string]string{"name": "tree", "newName": "stock"}, nil)
			return err
		}, true},
	} {
		h.dial(h.listen(h.server))
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- c.call(ctx, h.client, h.raw) }()
		<-store.begun
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", c.what, err)
		}
		if c.stay {
			store.may <- struct{}{}
		}
		if err := <-store.ended; c.stay && err != nil || !c.stay && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the copy ended with %v", c.what, err)
		}
	}
	entries, err := os.ReadDir(h.pool)
	if err != nil || len(entries) != 2 || entries[0].Name() != "stock" || entries[1].Name() != "tree" {
		t.Errorf("in the pool are %v, %v", entries, err)
	}
}

// busyStore reports progress much more often than anybody wants to know, and then copies.
type busyStore struct{ *images.Store }

func (s busyStore) Clone(ctx context.Context, src images.Image, newName string, options images.CloneOptions) error {
	for n := range int64(5000) {
		if options.Progress != nil {
			options.Progress(n+1, 5000)
		}
	}
	return s.Store.Clone(ctx, src, newName, images.CloneOptions{})
}

// Who wants to know is told how far a copy is, ten times a second at most.
func TestCloneProgress(t *testing.T) {
	h := newVarlinkHost(t, rootOnly, func(c *machined.Config) { c.Images = busyStore{c.Images.(*images.Store)} })
	h.addImage("tree")
	began, told := time.Now(), 0
	err := h.client.Clone(t.Context(), "tree", "one", images.CloneOptions{Progress: func(copied, total int64) {
		told++
		if told == 1 && copied != 1 || total != 5000 {
			t.Errorf("%d of %d are copied", copied, total)
		}
	}})
	if most := 1 + int(time.Since(began)/(100*time.Millisecond)); err != nil || told < 1 || told > most {
		t.Errorf("told %d times, at most %d are right, %v", told, most, err)
	}
	if err := h.client.Clone(t.Context(), "tree", "two", images.CloneOptions{}); err != nil {
		t.Error(err)
	}
}

// What cannot be cloned is told in the words of the interface that was asked over.
func TestCloneErrors(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	h.addImage("tree")
	for in, want := range map[string]string{
		`{"name":"none","newName":"new"}`:  "io.berth.Machine.NoSuchImage",
		`{"name":"tree","newName":"a/b"}`:  varlink.ErrorInvalidParameter,
		`{"name":"tree","newName":"tree"}`: varlink.ErrorSystem,
		`{"name":"tree","newName":"new"}`:  "{}",
	} {
		if got := outcome(t, h.raw, "io.berth.Machine.CloneImage", in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Where the stock machined answers, or ours of an earlier release, its own method
// is there to be asked.
func TestCloneWithoutOurInterface(t *testing.T) {
	description, err := os.ReadFile("io.systemd.MachineImage.varlink")
	if err != nil {
		t.Fatal(err)
	}
	type request struct{ Name, NewName string }
	asked := make(chan request, 1)
	server := varlink.NewServer(varlink.Info{Vendor: "test"}, varlink.Options{})
	if err := server.Handle(string(description), map[string]varlink.Handler{
		"Clone": func(_ context.Context, call *varlink.Call) error {
			var in request
			err := call.Parameters(&in)
			asked <- in
			return err
		},
	}); err != nil {
		t.Fatal(err)
	}
	h := newVarlinkHost(t, rootOnly)
	h.dial(h.listen(server))
	for _, progress := range []func(int64, int64){nil, func(_, _ int64) {}} {
		if err := h.client.Clone(t.Context(), "tree", "copy", images.CloneOptions{Progress: progress}); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got != (request{"tree", "copy"}) {
			t.Errorf("asked for %+v", got)
		}
	}
}

package compress

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

func testPipe(t *testing.T) (*os.File, feed) {
	t.Helper()
	r, w, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	f := newFeed(w)
	if f.size == 0 {
		t.Fatal("the size of the pipe is not known")
	}
	t.Cleanup(func() {
		_, _ = r.Close(), w.Close() // the test may have closed them
	})
	return r, f
}

// A feed writes nothing before there is room for all, and then everything.
func TestFeedWaitsForRoom(t *testing.T) {
	r, f := testPipe(t)
	if !f.ready(2 * f.size) {
		t.Error("what never fits waits for ever in an empty pipe")
	}
	first, second := bytes.Repeat([]byte("a"), f.size-100), bytes.Repeat([]byte("b"), f.size)
	if _, err := f.Write(first); err != nil {
		t.Fatal(err)
	}
	if f.ready(len(second)) || f.ready(101) || !f.ready(100) {
		t.Error("wrong about what has room")
	}
	written := make(chan error, 1)
	go func() {
		_, err := f.Write(second)
		written <- errors.Join(err, f.Close())
	}()
	got, err := io.ReadAll(r)
	if err = errors.Join(err, <-written); err != nil || !bytes.Equal(got, append(first, second...)) {
		t.Errorf("%d bytes arrived, %v", len(got), err)
	}
}

// Nobody will ever make room: that is an error, and not a reason to wait.
func TestFeedOfNobody(t *testing.T) {
	r, f := testPipe(t)
	if _, err := f.Write(make([]byte, f.size)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 10)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
}

// The rest grows while little comes, and shrinks while much does.
func TestPace(t *testing.T) {
	p := newPace(pipeSize)
	last := time.Duration(0)
	for range 20 {
		rest := p.after(8<<10, false)
		if rest < last || rest == 0 || rest > paceLonger {
			t.Fatalf("after a rest of %v comes one of %v", last, rest)
		}
		last = rest
	}
	if last != paceLonger {
		t.Errorf("the longest rest is %v", last)
	}
	if rest := p.after(paceBytes, false); rest != last {
		t.Errorf("enough came, and the rest became %v", rest)
	}
	if rest := p.after(2*paceBytes, true); rest != 0 {
		t.Errorf("there is more, and a rest of %v", rest)
	}
	for range 40 {
		last = p.after(2*paceBytes, false)
	}
	if last > paceLeast {
		t.Errorf("much comes, and the rest is still %v", last)
	}
}

// All that a small pipe holds is much, though it is little: a rest each time would be
// most of the time.
func TestPaceOfSmallPipe(t *testing.T) {
	for _, size := range []int{8 << 10, 64 << 10} {
		p := newPace(size)
		var all time.Duration
		for range 1000 {
			all += p.after(size, false)
		}
		if all > paceLonger {
			t.Errorf("a pipe of %d bytes was full a thousand times, and there were rests of %v", size, all)
		}
	}
}

package importapi_test

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/cmd/internal/importapi"
	"berth/fixtures/await"
	"berth/images"
	"berth/importd"
)

// load is many transfers, one after the other by each of several clients.
type load struct {
	t       *testing.T
	socket  string
	archive string // path

	mu   sync.Mutex
	made []string // names of images
	ends map[string]int
}

// TestManyTransfers: transfers of every kind, of which a third is canceled at any
// moment, leave no goroutine, descriptor, process or file behind. That a daemon
// keeps nothing either is tested with more of them, in fixtures/e2e.
func TestManyTransfers(t *testing.T) {
	transfers, clients := 500, 6
	if raceEnabled {
		transfers = 60
	}
	path, service := serveVarlinkWith(t, everybody)
	l := &load{t: t, socket: path, archive: temp(t, tree(t)).Name(), ends: map[string]int{}}
	l.base(service.Manager)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var number atomic.Int32
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for n := int(number.Add(1)); n <= transfers; n = int(number.Add(1)) {
				if err := l.transfer(n); err != nil {
					t.Errorf("transfer %d: %v", n, err)
				}
			}
		})
	}
	group.Wait()
	t.Logf("ends: %v", l.ends)
	if list := service.Manager.List(); len(list) > 0 {
		t.Errorf("transfers: %v", list)
	}
	var left []string
	entries, err := os.ReadDir(service.Images.Locations().Pool[images.ClassMachine])
	for _, e := range entries {
		left = append(left, strings.TrimSuffix(e.Name(), ".raw"))
	}
	if slices.Sort(l.made); err != nil || !slices.Equal(left, l.made) {
		t.Errorf("in the pool are %q, %v, want %q", left, err, l.made)
	}
	await.Until(t, time.Minute, "all processes to be gone", func() bool { return len(children(t)) == 0 })
	await.Until(t, time.Minute, "all descriptors to be closed", func() bool { return openFiles(t) <= files })
	await.Until(t, time.Minute, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// base makes the image that is exported.
func (l *load) base(m *importd.Manager) {
	l.t.Helper()
	file, err := os.Open(l.archive)
	if err != nil {
		l.t.Fatal(err)
	}
	base, err := m.Start(importd.Request{Kind: importd.ImportTar, Class: images.ClassMachine, Local: "base", File: file})
	if err == nil {
		err = base.Err()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.made = append(l.made, "base")
}

// transfer makes the nth transfer. It may end as it wants if it is canceled.
func (l *load) transfer(n int) (err error) {
	client, err := importapi.Dial(l.t.Context(), l.socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	file, err := os.Open(l.archive)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	local, class := fmt.Sprintf("image-%03d", n), images.ClassMachine
	var updates iter.Seq2[importapi.Update, error]
	makes, ends := true, n%5 != 0
	switch n % 5 {
	case 0: // there is no such file
		updates = client.Pull(l.t.Context(), importapi.PullParameters{
			Remote: "file://" + l.archive + ".none", Local: local, Type: importapi.FormTar, Class: class, Verify: importd.VerifyNo,
		})
	case 1:
		updates = client.Pull(l.t.Context(), importapi.PullParameters{
			Remote: fmt.Sprintf("file://%s?%d", l.archive, n), Local: local, Type: importapi.FormRaw, Class: class, Verify: importd.VerifyNo,
		})
	case 2:
		updates = client.Import(l.t.Context(), importapi.ImportParameters{Local: local, Type: importapi.FormTar, Class: class}, file)
	case 3:
		updates = client.Import(l.t.Context(), importapi.ImportParameters{Local: local, Type: importapi.FormRaw, Class: class}, file)
	default:
		out, done, err := discarding()
		if err != nil {
			return err
		}
		defer done()
		updates = client.Export(l.t.Context(), importapi.ExportParameters{Local: "base", Type: importapi.FormTar, Class: class}, out)
		makes = false
	}
	cancel := 0
	if n%3 == 0 {
		cancel = 1 + rand.IntN(3)
	}
	end := l.follow(updates, cancel)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[fmt.Sprintf("%T", end)]++
	switch {
	case end == nil && makes:
		l.made = append(l.made, local)
	case cancel > 0 && errors.Is(end, importd.ErrCanceled):
	case end == nil == ends:
	default:
		return fmt.Errorf("it ended with %w", end)
	}
	return nil
}

// discarding returns a pipe whose other end is read. done closes both and waits for
// that.
func discarding() (out *os.File, done func(), err error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(io.Discard, in) }) // it ends with the last writer
	return out, func() {
		_ = out.Close() // nothing was written here
		reader.Wait()
		_ = in.Close()
	}, nil
}

// follow reads what is reported to the end. With an update of the given number, if
// that comes, the transfer is canceled.
func (l *load) follow(updates iter.Seq2[importapi.Update, error], cancel int) error {
	heard, id := 0, uint32(0)
	for u, err := range updates {
		if err != nil {
			return err
		}
		if u.ID != 0 {
			id = u.ID
		}
		if heard++; heard != cancel {
			continue
		}
		client, err := importapi.Dial(l.t.Context(), l.socket)
		if err == nil {
			err = client.Cancel(l.t.Context(), id)
			err = errors.Join(err, client.Close())
		}
		if err != nil && !errors.Is(err, importd.ErrNoSuchTransfer) {
			l.t.Errorf("cancel transfer %d: %v", id, err)
		}
	}
	return nil
}

// children are the processes that this one has started and not waited for.
func children(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

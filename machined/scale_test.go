package machined

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const many = 1000

// herd starts n processes; handing a pipe's end to all of them is the cheapest
// way to end them together.
func herd(t testing.TB, n int) []*Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*Process, n)
	for i := range all {
		p, err := StartProcess(Service{Path: "/bin/sh", Args: []string{"sh", "-c", "read x"}, Files: []*os.File{r}},
			syscall.SysProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = p
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for _, p := range all {
			waitEnd(t, p)
			if _, err := p.ExitStatus(); err != nil {
				t.Error(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestThousandMachines(t *testing.T) {
	all := herd(t, many)
	filesBefore, goroutinesBefore := openFiles(t), runtime.NumGoroutine()
	config := testConfig(t)
	config.Logger = nil
	m := testManager(t, config)
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() {
			r := validRegistration()
			r.Name, r.Leader.ProcessID = fmt.Sprintf("m%d", i), p.ProcessID
			if _, err := m.Register(t.Context(), root(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if n := runtime.NumGoroutine() - goroutinesBefore; n > 5 {
		t.Errorf("%d goroutines for %d machines", n, many)
	}
	if n := openFiles(t) - filesBefore; n > many+20 {
		t.Errorf("%d files open for %d machines", n, many)
	}
	if n := len(m.List()); n != many {
		t.Errorf("%d machines listed", n)
	}
	for _, p := range all {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	count := map[EventKind]int{}
	deadline := time.After(patience)
	for range 2 * many {
		select {
		case e := <-events:
			count[e.Kind]++
		case <-deadline:
			t.Fatalf("only %v events", count)
		}
	}
	if count[EventNew] != many || count[EventRemoved] != many || len(m.List()) != 0 {
		t.Errorf("events %v, %d machines left", count, len(m.List()))
	}
	if files := names(t, config.StateDir); len(files) != 0 {
		t.Errorf("left behind: %q …", files[:min(len(files), 3)])
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := openFiles(t); n > filesBefore {
		t.Errorf("%d files open, %d before", n, filesBefore)
	}
}

// Registering must not read or write the files of other machines, nor look
// through the directory.
func TestRegisterLeavesOtherFilesAlone(t *testing.T) {
	m := testManager(t, testConfig(t))
	register(t, m, "old", sleeper(t))
	touched := watchDir(t, m.config.StateDir)
	register(t, m, "new", sleeper(t))
	if err := m.Unregister(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	names := touched()
	if !slices.Contains(names, "new") {
		t.Fatalf("the watch saw only %q", names)
	}
	for _, name := range names {
		if !strings.Contains(name, "new") {
			t.Errorf("%q was touched, all: %q", name, names)
		}
	}
}

// watchDir gives the names of all entries of a directory that something was
// done with, "" for the directory itself.
func watchDir(t *testing.T, dir string) (touched func() []string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_ALL_EVENTS); err != nil {
		t.Fatal(err)
	}
	return func() (names []string) {
		t.Helper()
		buf := make([]byte, 64<<10)
		n, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		for buf = buf[:n]; len(buf) > 0; {
			end := unix.SizeofInotifyEvent + binary.NativeEndian.Uint32(buf[12:])
			names = append(names, strings.TrimRight(string(buf[unix.SizeofInotifyEvent:end]), "\x00"))
			buf = buf[end:]
		}
		return names
	}
}

func BenchmarkListThousand(b *testing.B) {
	config := testConfig(b)
	config.Logger = nil
	m := testManager(b, config)
	for i, p := range herd(b, many) {
		register(b, m, fmt.Sprintf("m%d", i), p)
	}
	for b.Loop() {
		if len(m.List()) != many {
			b.Fatal("machines are missing")
		}
	}
}

func BenchmarkRegister(b *testing.B) {
	config := testConfig(b)
	config.Logger = nil
	m := testManager(b, config)
	for i, p := range herd(b, many) {
		register(b, m, fmt.Sprintf("m%d", i), p)
	}
	p := sleeper(b)
	for b.Loop() {
		register(b, m, "one-more", p)
		if err := m.Unregister(b.Context(), "one-more"); err != nil {
			b.Fatal(err)
		}
	}
}

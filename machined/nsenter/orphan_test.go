package nsenter

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dying names a process of the tests that is killed while a copy of it is on an
// errand.
const dying = "BERTH_TEST_DYING"

// actDying is the life of that process. Its copy says over descriptor 3 that it is
// under way.
func actDying() int {
	out := os.NewFile(3, "out")
	e := errand{given: [givenCount]*os.File{out}, calls: []call{
		{nr: unix.SYS_WRITE, args: [6]arg{num(givenFirst), ptr(new(byte)), num(1)}},
		{nr: unix.SYS_NANOSLEEP, args: [6]arg{ptr(&unix.Timespec{Sec: int64((10 * time.Minute).Seconds())})}},
	}}
	stay := way{plain: true, clone: cloneArgs{exitSignal: uint64(unix.SIGCHLD)}}
	_, err := e.run(context.Background(), &plan{way: stay})
	fmt.Println("it ended before it was killed:", err)
	return 1
}

// What is on an errand is killed with who sent it.
func TestErrandEndsWithItsSender(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), dying+"=yes")
	cmd.ExtraFiles = []*os.File{out}
	cmd.Stdout = os.Stderr
	err = cmd.Start()
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.Read(make([]byte, 1))
	if err != nil {
		t.Error("no errand: ", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
	if err := in.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("the errand goes on: %v", err)
	}
}

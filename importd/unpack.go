package importd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"berth/images"
	"berth/images/copytree"
	"berth/images/foreign"
	"berth/importd/cage"
	"berth/transfer"
	"berth/transfer/compress"
	"berth/transfer/disk"
)

// What the unpacker finds on its descriptors besides the bytes on standard
// input: its control stream, the pending image, a file without a name for what
// has to be converted, and the worker's own control stream, which it only holds.
const (
	targetFD  = 4
	scratchFD = 5
)

// unpackJob tells an unpacker what to do.
type unpackJob struct {
	Kind    Kind   `json:"kind"`
	Target  string `json:"target"`
	SizeMax int64  `json:"sizeMax"`
	// Plain leaves a qcow2 image as it is.
	Plain bool `json:"plain,omitempty"`
	// Stream writes a disk from where the target's offset stands, without holes.
	Stream bool `json:"stream,omitempty"`
	// ZeroFill goes on with zeros up to SizeMax.
	ZeroFill bool `json:"zeroFill,omitempty"`
	// Foreign fills or packs a tree of the foreign range.
	Foreign bool `json:"foreign,omitempty"`
	// Format is that of what is packed.
	Format compress.Format `json:"format,omitempty"`
}

// unpackJob describes what fills an image or a direct target.
func (s *stage) unpackJob(into receiver) unpackJob {
	j := unpackJob{Kind: s.Request.Kind, Target: into.Path(), SizeMax: s.SizeMax, Plain: s.Request.KeepQcow2}
	if s.Request.SizeMax > 0 {
		j.SizeMax = min(j.SizeMax, s.Request.SizeMax)
	}
	if d := s.Request.Direct; d != nil && !s.Request.Kind.Tree() {
		j.Stream = d.Offset != nil || !isRegular(into.File())
		j.ZeroFill = d.ZeroFill
	}
	return j
}

// unpacker is the worker's side of an unpacker process.
type unpacker struct {
	process *os.Process
	control *os.File
	space   *foreign.Process // nil unless it runs in a user namespace
	ended   chan struct{}    // closed when it was waited for
	err     error            // why it failed; to be read when ended is closed
}

// startUnpacker starts the child that turns the bytes on stdin into the image. It
// holds the lock of a pending image too.
func (s *stage) startUnpacker(ctx context.Context, stdin *os.File, into receiver) (_ *unpacker, err error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the unpacker's pipe: %w", err)
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	scratch, err := s.scratch()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	files := []*os.File{stdin, os.Stdout, os.Stderr, theirs, into.File(), scratch, s.control}
	if s.foreign {
		space, err := s.startForeign(ctx, s.unpackJob(into), files, into)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the unpacker: %w", err), ours.Close())
		}
		return newUnpacker(space.OS, ours, space, s.report), nil
	}
	process, err := s.startHere(s.unpackJob(into), files)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the unpacker: %w", err), ours.Close())
	}
	return newUnpacker(process, ours, nil, s.report), nil
}

func (s *stage) startHere(j unpackJob, files []*os.File) (*os.Process, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("write the job: %w", err)
	}
	return startConfined(unpackerCapabilities, []string{UnpackerName, string(text)}, &os.ProcAttr{
		Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{Cloneflags: newNetwork()},
	})
}

// newUnpacker relays what a process says from now on.
func newUnpacker(process *os.Process, control *os.File, space *foreign.Process, report *reporter) *unpacker {
	u := &unpacker{process: process, control: control, space: space, ended: make(chan struct{})}
	go func() {
		defer close(u.ended)
		u.err = u.follow(report)
	}()
	return u
}

func newNetwork() uintptr {
	if os.Geteuid() == 0 {
		return syscall.CLONE_NEWNET
	}
	return 0
}

// scratch returns a file without a name on the file system of the image root,
// or the null device where none is needed.
func (s *stage) scratch() (*os.File, error) {
	if s.Request.Kind.Tree() || s.Request.KeepQcow2 {
		return os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	return unnamedFile(s.Request.ImageRoot)
}

// wait waits for the end of the unpacker and returns why it failed.
func (u *unpacker) wait() error {
	<-u.ended
	return u.err
}

// follow relays what the unpacker says until its end.
func (u *unpacker) follow(report *reporter) error {
	var failure *Failure
	err := messages(u.control, func(m message) {
		if m.Failure != nil {
			failure = m.Failure
			return
		}
		report.send(m)
	})
	state, waitErr := u.process.Wait()
	if u.space != nil {
		err = errors.Join(err, u.space.Close())
	}
	if err := errors.Join(err, waitErr, u.control.Close()); err != nil {
		return fmt.Errorf("wait for the unpacker: %w", err)
	}
	if failure != nil {
		return failure
	}
	if !state.Success() {
		return fmt.Errorf("unpacker ended: %s", state)
	}
	return nil
}

// kill ends the unpacker; wait must still be called.
func (u *unpacker) kill() { _ = u.process.Kill() }

// UnpackerMain is the main function of a process named [UnpackerName]; args are
// what follows its name. It returns the exit status.
func UnpackerMain(args []string) int {
	control := os.NewFile(controlFD, "control")
	if control == nil || len(args) != 1 {
		fmt.Fprintln(os.Stderr, "this program is started by importd only")
		return 2
	}
	s := &stage{report: &reporter{out: control}}
	var job unpackJob
	err := json.Unmarshal([]byte(args[0]), &job)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if job.Foreign {
			err = s.inside(ctx, job)
		} else {
			err = s.unpack(ctx, job)
		}
	}
	if err != nil {
		s.report.send(message{Failure: failureOf(err)})
		return 1
	}
	return 0
}

// unpack confines the process to the pending image and fills that.
func (s *stage) unpack(ctx context.Context, job unpackJob) error {
	target := os.NewFile(targetFD, job.Target)
	rules := cage.Rules{Capabilities: imageCapabilities}
	if job.Kind.Tree() {
		rules.Write = []string{job.Target}
	}
	if job.Kind == ImportFS {
		rules.Read = []string{"/proc/self/fd/0"}
	}
	if err := s.enterCage(rules); err != nil {
		return err
	}
	switch {
	case job.Kind == ImportFS:
		return copytree.Copy(ctx, os.Stdin, target, copytree.Options{})
	case job.Kind.Tree():
		return transfer.Unpack(ctx, os.Stdin, transfer.Tree(target, s.treeOptions(job)))
	}
	return s.unpackDisk(ctx, job, target)
}

func (s *stage) unpackDisk(ctx context.Context, job unpackJob, target *os.File) error {
	switch {
	case job.Stream:
		return transfer.Unpack(ctx, os.Stdin, transfer.Stream(target, job.SizeMax, job.ZeroFill))
	case isPlainDisk(os.Stdin, job) && shareBlocks(os.Stdin, target) == nil:
		return nil
	case job.Plain:
		return transfer.Unpack(ctx, os.Stdin, transfer.Plain(target, job.SizeMax))
	}
	scratch := os.NewFile(scratchFD, "conversion space beside "+job.Target)
	return transfer.Unpack(ctx, os.Stdin, transfer.Disk(target, scratch, job.SizeMax))
}

// shareBlocks makes a disk of the blocks of another. A direct target may have been a
// longer one, whose end would stay.
func shareBlocks(from, to *os.File) error {
	if err := to.Truncate(0); err != nil {
		return err
	}
	return copytree.CloneFile(from, to)
}

// isPlainDisk says whether all of a file is a disk as it is to be, so that no byte of
// it has to be moved where blocks can be shared.
func isPlainDisk(f *os.File, job unpackJob) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > job.SizeMax {
		return false
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		return false
	}
	prefix := make([]byte, max(compress.MagicLen, disk.PrefixLen))
	n, err := f.ReadAt(prefix, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return compress.Detect(prefix[:n]) == compress.None && (job.Plain || !disk.IsQcow2(prefix[:n]))
}

func (s *stage) treeOptions(j unpackJob) transfer.TreeOptions {
	return transfer.TreeOptions{
		SizeMax: j.SizeMax,
		Warn: func(entry string, err error) {
			s.report.log(PriorityWarning, "Not kept of '%s': %v", entry, err)
		},
	}
}

// nameFromURL takes an image's name from where it comes.
func nameFromURL(kind Kind, url string) (string, error) {
	component, err := images.LastComponent(url)
	if err != nil {
		return "", err
	}
	if kind.Tree() {
		return images.TarName(component)
	}
	return images.RawName(component)
}

// isDiskFull recognises what must never be blamed on the URL.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// explain puts the image root into the text of a full disk, so that the user
// learns where to make room.
func (s *stage) explain(err error) error {
	place := s.Request.ImageRoot
	if d := s.Request.Direct; d != nil {
		place = d.Path
	}
	if err == nil || place == "" || !isDiskFull(err) || strings.Contains(err.Error(), place+":") {
		return err
	}
	return fmt.Errorf("the disk of %s is full: %w", place, err)
}

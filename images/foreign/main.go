package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"berth/images/copytree"
)

// verb is what can be asked for.
type verb string

const (
	verbEmpty verb = "empty"
	verbCopy  verb = "copy"
	verbNote  verb = "note"
	// verbStop stops what was asked for last, if it goes on still. It has no answer of its own.
	verbStop verb = "stop"
)

// Main is the whole life of the process that works for a [User]; the result is its exit status.
func Main() int {
	inside, err := Enter(channelPlace)
	if err != nil {
		fmt.Fprintf(os.Stderr, "work on trees of a user: %v\n", err)
		return 1
	}
	err = inside.serve()
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintf(os.Stderr, "work on trees of a user: %v\n", err)
		return 1
	}
	return 0
}

// serve does what it is asked for, one thing after the other, until nobody is there to ask. The process ends then,
// whatever it is doing.
func (i *Inside) serve() error {
	if err := giveUp(); err != nil {
		return err
	}
	stop := func() {}
	for {
		m, files, err := receive(i.conn)
		if err != nil {
			stop()
			return err
		}
		if m.Verb == verbStop {
			stop()
			continue
		}
		var ctx context.Context
		ctx, stop = context.WithCancel(context.Background())
		go func() {
			trees, err := openAll(files)
			if err == nil {
				err = m.do(ctx, trees)
			}
			err = errors.Join(err, closeAll(trees))
			_ = send(i.conn, answer(err)) // nobody there: the end is near
		}()
	}
}

// giveUp leaves the process nothing to regain.
func giveUp() error {
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit core size: %w", err)
	}
	return nil
}

// openAll opens what was handed over. It is for the caller to close, also after an error.
func openAll(files []*os.File) (trees []*os.File, err error) {
	for _, f := range files {
		tree, openErr := Open(f)
		if openErr != nil {
			err = errors.Join(err, openErr)
			continue
		}
		trees = append(trees, tree)
	}
	return trees, err
}

func (m message) do(ctx context.Context, files []*os.File) error {
	switch {
	case m.Verb == verbEmpty && len(files) == 1:
		return empty(ctx, files[0])
	case m.Verb == verbCopy && len(files) == 2:
		return copyTree(ctx, files[0], files[1])
	case m.Verb == verbNote && len(files) == 1:
		return note(files[0], m.Notes)
	}
	return fmt.Errorf("%q with %d trees cannot be done: %w", m.Verb, len(files), unix.EINVAL)
}

// empty removes what is in a directory, as many names at a time as one look gives.
func empty(ctx context.Context, dir *os.File) error {
	for {
		names, err := dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the tree: %w", err)
		}
		for _, name := range names {
			if err := copytree.Remove(ctx, dir, name); err != nil {
				return err
			}
		}
		// What was removed may have moved what comes next.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the tree: %w", err)
		}
	}
}

func copyTree(ctx context.Context, from, to *os.File) error {
	if err := copytree.Copy(ctx, from, to, copytree.Options{}); err != nil {
		return err
	}
	return LetIn(to)
}

// LetIn gives the top of a tree the rights of [TopMode].
func LetIn(top *os.File) error {
	info, err := top.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&TopMode == TopMode {
		return nil
	}
	return top.Chmod(info.Mode() | TopMode)
}

// note leaves out what the file system cannot keep.
func note(dir *os.File, notes map[string]string) error {
	for name, value := range notes {
		err := unix.Fsetxattr(int(dir.Fd()), name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("note %s: %w", name, err)
		}
	}
	return nil
}

package importd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/importd/cage"

	"golang.org/x/sys/unix"
)

// importFile makes an image of the file or directory on standard input. The
// unpacker reads that itself: the bytes never pass this process.
func (s *stage) importFile(ctx context.Context) (err error) {
	if err := s.exists(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Request.ImageRoot, 0o755); err != nil {
		return fmt.Errorf("make the image root: %w", err)
	}
	s.report.log(PriorityInfo, "Importing, saving as '%s'.", s.Request.Local)
	build, err := s.newBuild(os.Stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, build.discard()) }()
	if err := s.enterCage(cage.Rules{
		Write:        s.writable(),
		Capabilities: s.publishCapabilities(),
	}); err != nil {
		return err
	}
	stop := s.sample(offset(os.Stdin), constant(s.inputSize()), finalizeShare)
	err = build.wait(ctx)
	stop()
	if err != nil {
		return s.explain(err)
	}
	if err := s.finishImage(ctx, build.pending); err != nil {
		return s.explain(err)
	}
	return s.explain(s.name(ctx, build.pending, s.localFile(), s.options(s.Request.Force, s.Request.ReadOnly)))
}

// inputSize is the length of a regular file, or 0 for what has none.
func (s *stage) inputSize() int64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(os.Stdin.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	return st.Size
}

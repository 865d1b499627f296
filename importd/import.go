package importd

import (
	"context"
	"errors"
	"os"

	"berth/images"

	"golang.org/x/sys/unix"
)

// importFile makes an image of the file or directory on standard input. The
// unpacker reads that itself: the bytes never pass this process.
func (s *stage) importFile(ctx context.Context) (err error) {
	if err := s.prepareRoot(ctx); err != nil {
		return err
	}
	s.report.log(PriorityInfo, "Importing, saving as '%s'.", s.destination())
	release, err := s.holdTrees(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	build, err := s.newBuild(ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, build.discard()) }()
	if err := s.enterCage(s.rootRules()); err != nil {
		return err
	}
	stop := s.sample(offset(os.Stdin), constant(s.inputSize()), finalizeShare)
	err = build.wait(ctx)
	stop()
	if err != nil {
		return s.explain(err)
	}
	if build.pending == nil {
		if d := s.Request.Direct; d.Path != "" && d.Offset == nil && isRegular(build.into.File()) {
			s.keepFacts(build.into.File())
		}
		return s.explain(s.finishDirect(ctx, build.into))
	}
	if err := s.finishImage(ctx, build.pending.File()); err != nil {
		return s.explain(err)
	}
	s.keepFacts(build.pending.File())
	return s.explain(s.name(ctx, build.pending, s.localFile(), s.options(s.Request.Force, s.Request.ReadOnly)))
}

// keepFacts has a disk keep the times and the user's attributes of the file that it
// comes from, which is of no importance. Where a download came from and what its digest
// was is for those to say who know: an import that says so would pass for a kept copy.
func (s *stage) keepFacts(image *os.File) {
	if s.Request.Kind == ImportRaw && isRegular(os.Stdin) {
		_ = images.CopyFacts(image, os.Stdin) // as far as this file system can keep them
	}
	_ = unix.Fremovexattr(int(image.Fd()), digestXattr) // it has none, or cannot have any
}

// inputSize is the length of a regular file, or 0 for what has none.
func (s *stage) inputSize() int64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(os.Stdin.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	return st.Size
}

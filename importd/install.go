package importd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/images"
	"berth/images/copytree"

	"golang.org/x/sys/unix"
)

// install proves a download and gives it its names: the pristine one if the
// download is to be kept, and the local one.
func (p *pulling) install(ctx context.Context, build *build, proof *evidence, arrived *arrival) error {
	if err := proof.check(baseName(p.Request.Remote), arrived.digest); err != nil {
		return errors.Join(err, arrived.download.Discard())
	}
	if proof.wanted {
		p.report.log(PriorityInfo, "Checksum of '%s' is valid.", baseName(p.Request.Remote))
	}
	extras, err := p.fetchExtras(ctx, proof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, extras.discard()) }()
	if err := p.finishImage(ctx, build.pending); err != nil {
		return err
	}
	p.describe(build.pending.File(), arrived)
	p.report.progress(finalizeShare)
	if err := p.commit(ctx, build.pending, extras, arrived); err != nil {
		return err
	}
	// The image is there: what was spooled for another attempt is not needed.
	return arrived.download.Finish()
}

func (p *pulling) commit(ctx context.Context, pending *images.Pending, extras extras, arrived *arrival) error {
	pristine := p.pristine.FileName(arrived.download.ETag())
	if !p.Request.KeepDownload && p.Request.Local != NoLocal {
		if err := extras.commit(ctx, p.localExtra, p.options(p.Request.Force, false)); err != nil {
			return err
		}
		return p.name(ctx, pending, p.localFile(), p.options(p.Request.Force, p.Request.ReadOnly))
	}
	if err := extras.commit(ctx, p.pristineExtra(arrived.download.ETag()), p.options(true, true)); err != nil {
		return err
	}
	if err := p.name(ctx, pending, pristine, p.options(true, true)); err != nil {
		return err
	}
	return p.installCopy(ctx, pristine)
}

// installCopy makes the local image from a pristine one.
func (p *pulling) installCopy(ctx context.Context, pristine string) (err error) {
	if p.Request.Local == NoLocal {
		return nil
	}
	p.report.progress(copyShare)
	source := filepath.Join(p.Request.ImageRoot, pristine)
	pending, err := images.NewPendingCopy(ctx, p.Request.ImageRoot, source)
	if err != nil {
		return fmt.Errorf("copy the image that was kept: %w", err)
	}
	defer func() { err = errors.Join(err, pending.Discard()) }()
	if err := p.copyExtras(ctx, pristine); err != nil {
		return err
	}
	return p.name(ctx, pending, p.localFile(), p.options(p.Request.Force, p.Request.ReadOnly))
}

// name publishes a pending image. Once it has its name the transfer has done
// what was asked, so what goes wrong after that is a warning.
func (s *stage) name(ctx context.Context, pending *images.Pending, name string, o images.CommitOptions) error {
	err := pending.Commit(ctx, name, o)
	if err == nil && name == s.localFile() && s.Request.Force {
		err = s.removeOtherForms(ctx)
	}
	if errors.Is(err, images.ErrAuxiliary) {
		s.report.log(PriorityWarning, "Image is in place, but: %v", err)
		return nil
	}
	return err
}

// removeOtherForms removes an image of the same name that is of another form: a
// disk that a tree replaces, or a tree that a disk does. They do not collide in
// the file system, but one would hide the other.
func (s *stage) removeOtherForms(ctx context.Context) (err error) {
	root, err := os.Open(s.Request.ImageRoot)
	if err != nil {
		return fmt.Errorf("replace image %q: %w: %w", s.Request.Local, images.ErrAuxiliary, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, suffix := range []string{"", ".raw", ".mstack"} {
		other := s.Request.Local + suffix
		if other == s.localFile() {
			continue
		}
		if err := copytree.Remove(ctx, root, other); err != nil {
			return fmt.Errorf("remove %q, which was replaced: %w: %w", other, images.ErrAuxiliary, err)
		}
	}
	return nil
}

// finishImage does what an image needs before it is named.
func (s *stage) finishImage(ctx context.Context, pending *images.Pending) error {
	if !s.Request.Kind.Tree() {
		return nil
	}
	moved, err := images.MangleTree(ctx, pending.File())
	if err != nil {
		return fmt.Errorf("move the operating system tree to the top: %w", err)
	}
	if moved {
		s.report.log(PriorityInfo, "Archive has its tree in a single directory; moved it to the top.")
	}
	return nil
}

// localFile is the file name of the image under its local name.
func (s *stage) localFile() string {
	if s.Request.Kind.Tree() {
		return s.Request.Local
	}
	return s.Request.Local + ".raw"
}

func (s *stage) options(replace, readOnly bool) images.CommitOptions {
	return images.CommitOptions{Replace: replace, ReadOnly: readOnly, Sync: !s.NoSync}
}

// describe notes on the image where it came from. File systems without extended
// attributes go without: nothing but the reuse of kept copies depends on them.
func (p *pulling) describe(f *os.File, a *arrival) {
	notes := map[string]string{
		"user.source_url":  redacted(p.Request.Remote),
		"user.source_etag": a.download.ETag(),
		digestXattr:        a.digest.String(),
	}
	for name, value := range notes {
		if value != "" {
			_ = unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		}
	}
	if modified := a.download.LastModified(); !modified.IsZero() && !p.Request.Kind.Tree() {
		p.setTimes(f, modified)
	}
}

func (p *pulling) setTimes(f *os.File, modified time.Time) {
	t := unix.NsecToTimeval(modified.UnixNano())
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{t, t}); err != nil {
		p.report.log(PriorityWarning, "Cannot set the time of the image: %v", err)
	}
}

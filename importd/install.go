package importd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"berth/images"

	"golang.org/x/sys/unix"
)

// soonRepeated is how long a download may take whose spool is not worth being
// brought to the disk, as syncing the image does with all of its file system. A
// crash within that time would cost the spool anyway.
const soonRepeated = 10 * time.Second

// install proves a download and gives it its names: the pristine one if the
// download is to be kept, and the local one.
func (p *pulling) install(ctx context.Context, build *build, proof *evidence, arrived *arrival) (err error) {
	if err := p.prove(proof, arrived); err != nil {
		return err
	}
	if build.pending == nil {
		return p.finishDirect(ctx, build.into)
	}
	extras, err := p.fetchExtras(ctx, proof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, extras.discard()) }()
	if err := p.finishImage(ctx, build.pending.File()); err != nil {
		return err
	}
	p.describe(ctx, build.pending.File(), arrived)
	p.report.progress(finalizeShare)
	if arrived.took < soonRepeated && arrived.download.Resumed() == 0 {
		if err := arrived.download.Finish(); err != nil {
			return err
		}
	}
	if err := p.commit(ctx, build.pending, extras, arrived); err != nil {
		return err
	}
	// The image is there: what was spooled for another attempt is not needed.
	return arrived.download.Finish()
}

// prove compares the digest of what has arrived with the evidence.
func (p *pulling) prove(proof *evidence, arrived *arrival) error {
	if err := proof.check(baseName(p.Request.Remote), arrived.digest); err != nil {
		return errors.Join(err, arrived.download.Discard())
	}
	if proof.wanted {
		p.report.log(PriorityInfo, "Checksum of '%s' is valid.", baseName(p.Request.Remote))
	}
	return nil
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
	pending, err := images.NewPendingCopy(ctx, p.Request.ImageRoot, source, p.trees)
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
	release := func() error { return nil }
	if name == s.localFile() && s.Request.Force {
		var err error
		if release, err = s.lockReplaced(ctx); err != nil {
			return errors.Join(err, release())
		}
	}
	err := pending.Commit(ctx, name, o)
	if unlockErr := release(); unlockErr != nil {
		s.report.log(PriorityWarning, "Cannot take away the lock of the image that was replaced: %v", unlockErr)
	}
	if err == nil && name == s.localFile() && s.Request.Force {
		err = s.removeOtherForms(ctx)
	}
	if errors.Is(err, images.ErrAuxiliary) {
		s.report.log(PriorityWarning, "Image is in place, but: %v", err)
		return nil
	}
	return err
}

// lockReplaced takes the lock on the image that is to be replaced, if there is
// one, as a machine that runs it does: it must not lose its root. release may
// be called in any case.
func (s *stage) lockReplaced(ctx context.Context) (release func() error, err error) {
	nothing := func() error { return nil }
	root, err := filepath.EvalSymlinks(s.Request.ImageRoot)
	if errors.Is(err, os.ErrNotExist) {
		return nothing, nil
	} else if err != nil {
		return nothing, fmt.Errorf("find the image root: %w", err)
	}
	old, err := s.rootStore().Find(ctx, s.Request.Class, s.Request.Local)
	// A symlink or a directory of versions is replaced, not the image that it leads to.
	if errors.Is(err, images.ErrNotFound) || err == nil && filepath.Dir(old.Path) != root {
		return nothing, nil
	} else if err != nil {
		return nothing, err
	}
	lock, err := s.store.LockImage(old, true)
	if err != nil {
		return nothing, fmt.Errorf("replace image %q: %w (%w)", s.Request.Local, err, unix.EBUSY)
	}
	return lock.Release, nil
}

// rootStore sees the image root alone. Nothing else is replaced, and nothing else
// can be looked into from within the cage.
func (s *stage) rootStore() *images.Store {
	places := s.Locations
	places.Search = map[images.Class][]string{s.Request.Class: {s.Request.ImageRoot}}
	places.Host = false
	return images.NewStore(places)
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
		if err := images.RemoveEntry(ctx, s.trees, root, other); err != nil {
			return fmt.Errorf("remove %q, which was replaced: %w: %w", other, images.ErrAuxiliary, err)
		}
	}
	return nil
}

// finishImage does what an image needs before it is named.
func (s *stage) finishImage(ctx context.Context, image *os.File) error {
	if !s.Request.Kind.Tree() || s.foreign { // whoever filled that has done it
		return nil
	}
	return s.finishTree(ctx, s.Request.Kind, image)
}

func (s *stage) finishTree(ctx context.Context, kind Kind, image *os.File) error {
	if kind != ImportFS {
		if err := mustHaveEntries(image); err != nil {
			return err
		}
	}
	moved, err := images.MangleTree(ctx, image)
	if err != nil {
		return fmt.Errorf("move the operating system tree to the top: %w", err)
	}
	if moved {
		s.report.log(PriorityInfo, "Archive has its tree in a single directory; moved it to the top.")
	}
	return nil
}

// mustHaveEntries refuses an archive of nothing, which zeros are to tar.
func mustHaveEntries(dir *os.File) (err error) {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("look into the image: %w", err)
	}
	again := os.NewFile(uintptr(fd), dir.Name())
	defer func() { err = errors.Join(err, again.Close()) }()
	if _, err := again.Readdirnames(1); errors.Is(err, io.EOF) {
		return errors.New("the archive has no entries: it is no image")
	} else if err != nil {
		return fmt.Errorf("look into the image: %w", err)
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
func (p *pulling) describe(ctx context.Context, f *os.File, a *arrival) {
	notes := map[string]string{
		"user.source_url":  redacted(p.Request.Remote),
		"user.source_etag": a.download.ETag(),
		digestXattr:        a.digest.String(),
	}
	maps.DeleteFunc(notes, func(_, value string) bool { return value == "" })
	if p.foreign {
		if err := p.trees.Note(ctx, f, notes); err != nil {
			p.report.log(PriorityWarning, "Cannot note on the image where it came from: %v", err)
		}
		return
	}
	for name, value := range notes {
		_ = unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
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

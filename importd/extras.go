package importd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"berth/images"
	"berth/transfer/disk"
	"berth/transfer/fetch"
	"berth/transfer/verify"
)

// Extra is the suffix of a file that may lie beside an image, with its dot.
type Extra string

// The extras: settings for systemd-nspawn, the root hash of a disk with its
// signature, and verity data.
const (
	ExtraSettings          Extra = ".nspawn"
	ExtraRootHash          Extra = ".roothash"
	ExtraRootHashSignature Extra = ".roothash.p7s"
	ExtraVerity            Extra = ".verity"
)

// UsualExtras are looked for beside an image unless something else is asked for.
// Settings are of use to machines only, hashes to disks only.
func UsualExtras(kind Kind, class images.Class) []Extra {
	extras := []Extra{}
	if class == images.ClassMachine {
		extras = append(extras, ExtraSettings)
	}
	if !kind.Tree() {
		extras = append(extras, ExtraRootHash, ExtraRootHashSignature, ExtraVerity)
	}
	return extras
}

// extra is a file that lies beside an image on the server and belongs to it.
type extra struct {
	suffix  string
	pending *images.Pending
}

// extras are those of one download.
type extras []extra

// extraMax bounds one, in bytes.
const extraMax = 1 << 30

// fetchExtras fetches what is there. What is not listed in the checksums is
// left out: it cannot be trusted, and it is no reason to refuse the image.
func (p *pulling) fetchExtras(ctx context.Context, proof *evidence) (found extras, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, found.discard())
		}
	}()
	name, err := nameFromURL(p.Request.Kind, p.Request.Remote)
	if err != nil {
		return nil, nil // a URL without a name has no neighbours
	}
	for _, which := range p.Request.Extras {
		suffix := string(which)
		from, err := sibling(p.Request.Remote, name+suffix)
		if err != nil {
			return found, err
		}
		e, err := p.fetchExtra(ctx, proof, from, suffix)
		switch {
		case errors.Is(err, fetch.ErrNotFound):
		case errors.Is(err, verify.ErrNotListed):
			p.report.log(PriorityWarning, "Left out '%s': %v", baseName(from), err)
		case err != nil:
			return found, fmt.Errorf("fetch %q: %w", baseName(from), err)
		default:
			found = append(found, e)
		}
	}
	return found, nil
}

func (p *pulling) fetchExtra(ctx context.Context, proof *evidence, from, suffix string) (_ extra, err error) {
	d, err := p.client.Open(ctx, fetch.Request{URL: from, MaxSize: extraMax})
	if err != nil {
		return extra{}, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	pending, err := images.NewPendingFile(p.Request.ImageRoot)
	if err != nil {
		return extra{}, err
	}
	hash := sha256.New()
	if _, err = disk.WriteSparse(ctx, pending.File(), io.TeeReader(d, hash), extraMax); err == nil {
		var digest verify.Digest
		hash.Sum(digest[:0])
		err = proof.checkNeighbour(baseName(from), digest)
	}
	if err != nil {
		return extra{}, errors.Join(err, pending.Discard())
	}
	return extra{suffix, pending}, nil
}

// commit gives each its name. One that exists and must not be replaced stays.
func (e extras) commit(ctx context.Context, name func(suffix string) string, o images.CommitOptions) error {
	for _, x := range e {
		err := x.pending.Commit(ctx, name(x.suffix), o)
		if errors.Is(err, images.ErrExists) {
			continue
		}
		if err != nil {
			return fmt.Errorf("install %q: %w", name(x.suffix), err)
		}
	}
	return nil
}

func (e extras) discard() (err error) {
	for _, x := range e {
		err = errors.Join(err, x.pending.Discard())
	}
	return err
}

func (s *stage) localExtra(suffix string) string { return s.Request.Local + suffix }

func (p *pulling) pristineExtra(etag string) func(string) string {
	return func(suffix string) string { return p.pristine.AuxName(etag, suffix) }
}

// copyExtras puts copies of what lies beside a pristine image beside the local.
func (p *pulling) copyExtras(ctx context.Context, pristine string) error {
	stem := pristine
	if !p.Request.Kind.Tree() {
		stem = pristine[:len(pristine)-len(".raw")]
	}
	for _, which := range p.Request.Extras {
		suffix := string(which)
		source := filepath.Join(p.Request.ImageRoot, stem+suffix)
		if _, err := os.Lstat(source); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		pending, err := images.NewPendingCopy(ctx, p.Request.ImageRoot, source, nil)
		if err != nil {
			return fmt.Errorf("copy %q: %w", stem+suffix, err)
		}
		err = extras{{suffix, pending}}.commit(ctx, p.localExtra, p.options(p.Request.Force, false))
		if err := errors.Join(err, pending.Discard()); err != nil {
			return err
		}
	}
	return nil
}

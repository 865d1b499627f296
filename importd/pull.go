package importd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"berth/images"
	"berth/images/foreign"
	"berth/importd/cage"
	"berth/transfer"
	"berth/transfer/fetch"
	"berth/transfer/fetch/spool"
	"berth/transfer/verify"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Shares of the progress: what is left is verifying, syncing and copying.
const (
	treeDownloadShare = 0.85
	diskDownloadShare = 0.80
	finalizeShare     = 0.90
	copyShare         = 0.95
)

// networkFiles is what resolving names and trusting certificates reads.
var networkFiles = []string{"/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman"}

// pulling is one pull under way in its worker.
type pulling struct {
	*stage
	client   *fetch.Client
	pristine images.Pristine
	received atomic.Int64
	total    atomic.Int64
}

// arrival is a download that has arrived in a pending image.
type arrival struct {
	download *fetch.Download
	digest   verify.Digest
	took     time.Duration
}

// pull fetches, verifies and installs an image.
func (s *stage) pull(ctx context.Context) error {
	if err := s.prepareRoot(ctx); err != nil {
		return err
	}
	p := &pulling{
		stage:    s,
		client:   fetch.New(fetch.Options{UserAgent: s.UserAgent, Log: s.logFetch}),
		pristine: images.Pristine{Root: s.Request.ImageRoot, Kind: images.KindRaw, URL: s.Request.Remote},
	}
	if s.Request.Kind.Tree() {
		p.pristine.Kind = images.KindTar
	}
	s.keyrings, s.keyringsErr = verify.KeyringPaths("", os.Getenv)
	s.report.log(PriorityInfo, "Pulling '%s', saving as '%s'.", redacted(s.Request.Remote), s.destination())
	return s.explain(p.run(ctx))
}

func (s *stage) logFetch(text string) { s.report.log(PriorityInfo, "%s", text) }

func (p *pulling) run(ctx context.Context) (err error) {
	release, err := p.holdTrees(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	build, err := p.startBuild(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, build.discard()) }()
	if err := p.enterCage(p.cageRules()); err != nil {
		return err
	}
	stop := p.sample(p.received.Load, p.total.Load, p.downloadShare())
	proof, arrived, err := p.fetchAll(ctx, build)
	stop()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, arrived.download.Close()) }()
	if arrived.download.NotModified() {
		return p.reuse(ctx, build, proof, arrived)
	}
	return p.install(ctx, build, proof, arrived)
}

// reuse installs the copy that the server says is still current. If the
// checksum list knows better, the image is fetched after all.
func (p *pulling) reuse(ctx context.Context, build *build, proof *evidence, kept *arrival) error {
	name := p.pristine.FileName(kept.download.ETag())
	if proof.wanted {
		digest, _ := keptDigest(filepath.Join(p.Request.ImageRoot, name))
		if err := proof.check(baseName(p.Request.Remote), digest); err != nil {
			p.report.log(PriorityNotice, "The copy that was kept does not fit (%v); fetching anew.", err)
			return p.refetch(ctx, build, proof)
		}
	}
	p.report.log(PriorityInfo, "Image is unchanged on the server; using the copy that was kept.")
	if err := build.discard(); err != nil {
		return err
	}
	return p.installCopy(ctx, name)
}

func (p *pulling) refetch(ctx context.Context, build *build, proof *evidence) (err error) {
	arrived, err := p.fetchImage(ctx, build, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, arrived.download.Close()) }()
	return p.install(ctx, build, proof, arrived)
}

func (p *pulling) downloadShare() float64 {
	if p.Request.Kind.Tree() {
		return treeDownloadShare
	}
	return diskDownloadShare
}

// cageRules leave a fetching worker the network, the image root, and for a file
// URL the directory of the file.
func (p *pulling) cageRules() cage.Rules {
	rules := p.rootRules()
	rules.Read = append(append([]string{}, networkFiles...), p.keyrings...)
	rules.Network = true
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if path := os.Getenv(variable); path != "" {
			rules.Read = append(rules.Read, path)
		}
	}
	if path, ok := fetch.LocalPath(p.Request.Remote); ok {
		rules.Read = append(rules.Read, filepath.Dir(path))
	}
	return rules
}

// fetchAll gathers the evidence and the image side by side: a missing signature
// ends a long download at once.
func (p *pulling) fetchAll(ctx context.Context, build *build) (proof *evidence, arrived *arrival, err error) {
	group, ctx := errgroup.WithContext(ctx)
	if d := p.Request.Direct; d != nil && d.Path == "" {
		// What went down a pipe cannot be taken back.
		group.SetLimit(1)
	}
	group.Go(func() (err error) {
		proof, err = p.gatherEvidence(ctx, p.client)
		return err
	})
	group.Go(func() (err error) {
		etags, err := p.keptETags()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		arrived, err = p.fetchImage(ctx, build, etags)
		return err
	})
	if err := group.Wait(); err != nil {
		if arrived != nil {
			err = errors.Join(err, arrived.download.Close())
		}
		return nil, nil, err
	}
	return proof, arrived, nil
}

// fetchImage streams the image into the unpacker and hashes it on the way.
// The server is asked to send nothing if it still has one of etags.
func (p *pulling) fetchImage(ctx context.Context, build *build, etags []string) (*arrival, error) {
	var d *fetch.Download
	hash := sha256.New()
	started := time.Now()
	open := func(ctx context.Context) (io.ReadCloser, error) {
		var err error
		d, err = p.client.Open(ctx, fetch.Request{
			URL: p.Request.Remote, MaxSize: p.SizeMax, ETags: etags,
			Spool:    p.spool(),
			Progress: &p.received,
		})
		if err != nil {
			return nil, err
		}
		p.total.Store(d.Size())
		return io.NopCloser(d), nil // closed when the image is installed
	}
	fed, stop := build.feeding(ctx)
	err := transfer.Fan(fed, open, hash, build.stdin)
	stop()
	if err != nil || !d.NotModified() {
		err = build.finish(err)
	}
	if err != nil {
		return nil, p.abandon(d, err)
	}
	a := &arrival{download: d, took: time.Since(started)}
	hash.Sum(a.digest[:0])
	if !d.NotModified() {
		p.report.log(PriorityInfo, "%s", acquired(p.received.Load(), d.Resumed(), a.took))
	}
	return a, nil
}

// spool is where the download is kept until the image is there. A direct transfer
// has no directory for it.
func (p *pulling) spool() string {
	if p.Request.Direct != nil {
		return ""
	}
	return filepath.Join(p.Request.ImageRoot, spool.Name(p.Request.Remote))
}

// abandon closes a download that failed. Its spool stays for the next attempt
// unless its content is what failed, or the disk is full: then it would keep it so.
func (p *pulling) abandon(d *fetch.Download, err error) error {
	if d == nil {
		return err
	}
	var side *transfer.Error
	if isDiskFull(err) || errors.As(err, &side) && side.Side == transfer.Sink {
		return errors.Join(err, d.Discard())
	}
	return errors.Join(err, d.Close())
}

// keptETags returns the ETags of the copies that can stand for the download. A
// copy whose digest is not known can do so only if nothing must be verified.
func (p *pulling) keptETags() ([]string, error) {
	if p.Request.Direct != nil {
		return nil, nil
	}
	kept, err := p.pristine.Find()
	if err != nil {
		return nil, err
	}
	var etags []string
	for _, k := range kept {
		path := filepath.Join(p.Request.ImageRoot, k.Name)
		if usable, err := p.usable(path); err != nil {
			return nil, err
		} else if !usable {
			continue
		}
		_, known := keptDigest(path)
		if k.ETag != "" && (known || p.Request.Verify == VerifyNo) {
			etags = append(etags, k.ETag)
		}
	}
	return etags, nil
}

// usable says whether a kept copy belongs to whom its copies have to.
func (p *pulling) usable(path string) (bool, error) {
	if !p.foreign {
		return true, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, nil //nolint:nilerr // nothing that this user could copy
	}
	defer f.Close()
	return foreign.Tree(f)
}

func acquired(received, resumed int64, took time.Duration) string {
	text := fmt.Sprintf("Acquired %.1f MiB in %s", float64(received)/(1<<20), took.Round(time.Millisecond))
	if resumed > 0 {
		text += fmt.Sprintf(", %.1f MiB of it from an earlier attempt", float64(resumed)/(1<<20))
	}
	return text + "."
}

// digestXattr is where a kept copy says what the SHA-256 of its download was.
const digestXattr = "user.berth.sha256"

// keptDigest reads it. Only an entry below the image root is asked, which
// nobody but root can write.
func keptDigest(path string) (verify.Digest, bool) {
	text := make([]byte, 64)
	n, err := unix.Lgetxattr(path, digestXattr, text)
	if err != nil {
		return verify.Digest{}, false
	}
	digest, err := verify.ParseDigest(string(text[:n]))
	return digest, err == nil
}

package importd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"syscall"

	"berth/transfer/fetch"
	"berth/transfer/verify"
)

// evidenceMax bounds a checksum list and a signature, in bytes.
const evidenceMax = 1 << 20

// errInvalidDownload is why a download was refused although it arrived.
var errInvalidDownload = errors.New("the download is invalid and was removed")

// evidence says what the digests of a download must be. Under [VerifyNo] it is
// empty and proves everything.
type evidence struct {
	wanted bool
	// digest is that of the image if it is known without a list.
	digest *verify.Digest
	list   verify.List
	// source names the checksum file in errors.
	source string
}

// evidenceFile is a place where a checksum list may be, and its signatures.
type evidenceFile struct {
	list       string
	signatures []string
}

// signatureSuffixes are those of the signatures of a list, in order.
var signatureSuffixes = []string{".gpg", ".asc"}

// evidenceFiles returns where the list for a URL is looked for, in order. Unlike the
// original, a list and its signature belong together: a signed SHA256SUMS is found
// behind an unsigned NAME.sha256.
func evidenceFiles(image string) ([]evidenceFile, error) {
	own, err := withSuffix(image, ".sha256")
	if err != nil {
		return nil, err
	}
	common, err := sibling(image, "SHA256SUMS")
	if err != nil {
		return nil, err
	}
	files := make([]evidenceFile, 2)
	for i, list := range []string{own, common} {
		files[i].list = list
		for _, suffix := range signatureSuffixes {
			signature, err := withSuffix(list, suffix)
			if err != nil {
				return nil, err
			}
			files[i].signatures = append(files[i].signatures, signature)
		}
	}
	return files, nil
}

// gatherEvidence fetches the checksum list of the image and, where asked for,
// checks its signature.
func (s *stage) gatherEvidence(ctx context.Context, client *fetch.Client) (*evidence, error) {
	known, err := verify.ParseDigest(s.Request.Digest)
	switch {
	case err == nil:
		return &evidence{wanted: true, digest: &known}, nil
	case s.Request.Verify == VerifyNo:
		return &evidence{}, nil
	case isSignature(baseName(s.Request.Remote)):
		return nil, fmt.Errorf("%q is a signature, which nothing proves: %w", redacted(s.Request.Remote), syscall.ELOOP)
	case isList(baseName(s.Request.Remote)):
		return s.proveList(ctx, client)
	}
	files, err := evidenceFiles(s.Request.Remote)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, f := range files {
		text, err := s.fetchSmall(ctx, client, f.list)
		if errors.Is(err, fetch.ErrNotFound) {
			missing = append(missing, baseName(f.list))
			continue
		} else if err != nil {
			return nil, fmt.Errorf("fetch checksums: %w", err)
		}
		absent, err := s.checkSignature(ctx, client, f, text)
		if err != nil {
			return nil, err
		}
		if absent != nil {
			missing = append(missing, absent...)
			continue
		}
		list, err := verify.ParseList(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w: %w", baseName(f.list), err, errInvalidDownload)
		}
		return &evidence{wanted: true, list: list, source: baseName(f.list)}, nil
	}
	return nil, fmt.Errorf("%q cannot be verified: the server has none of %s, and --verify=%s was asked for",
		redacted(s.Request.Remote), strings.Join(missing, ", "), s.Request.Verify)
}

// isList says whether a file is a checksum list itself.
func isList(name string) bool { return name == "SHA256SUMS" || strings.HasSuffix(name, ".sha256") }

func isSignature(name string) bool {
	list, ok := strings.CutSuffix(name, ".gpg")
	if !ok {
		list, ok = strings.CutSuffix(name, ".asc")
	}
	return ok && isList(list)
}

// proveList gathers evidence for a download that is a checksum list itself: there
// is no list of lists, but its own signature proves it. What was signed has to
// arrive again as the image.
func (s *stage) proveList(ctx context.Context, client *fetch.Client) (*evidence, error) {
	if s.Request.Verify != VerifySignature {
		return &evidence{}, nil
	}
	f := evidenceFile{list: s.Request.Remote}
	for _, suffix := range signatureSuffixes {
		signature, err := withSuffix(f.list, suffix)
		if err != nil {
			return nil, err
		}
		f.signatures = append(f.signatures, signature)
	}
	text, err := s.fetchSmall(ctx, client, f.list)
	if err != nil {
		return nil, fmt.Errorf("fetch checksums: %w", err)
	}
	absent, err := s.checkSignature(ctx, client, f, text)
	if err != nil {
		return nil, err
	}
	if absent != nil {
		return nil, fmt.Errorf("%q cannot be verified: the server has none of %s, and --verify=%s was asked for",
			redacted(s.Request.Remote), strings.Join(absent, ", "), s.Request.Verify)
	}
	digest := verify.Digest(sha256.Sum256(text))
	return &evidence{wanted: true, digest: &digest}, nil
}

// checkSignature returns the names it looked for in vain if there is none.
func (s *stage) checkSignature(ctx context.Context, client *fetch.Client, f evidenceFile, text []byte) (absent []string, err error) {
	if s.Request.Verify != VerifySignature {
		return nil, nil
	}
	for _, u := range f.signatures {
		signature, err := s.fetchSmall(ctx, client, u)
		if errors.Is(err, fetch.ErrNotFound) {
			absent = append(absent, baseName(u))
			continue
		} else if err != nil {
			return nil, fmt.Errorf("fetch signature: %w", err)
		}
		if s.keyringsErr != nil {
			return nil, s.keyringsErr
		}
		keyring, err := verify.LoadKeyring(s.keyrings...)
		if err != nil {
			return nil, err
		}
		signer, err := keyring.Check(text, signature)
		if err != nil {
			return nil, fmt.Errorf("check %s against %s: %w: %w", baseName(u), baseName(f.list), err, errInvalidDownload)
		}
		s.report.log(PriorityInfo, "Signature of %s is good, by %s.", baseName(f.list), signer)
		return nil, nil
	}
	return absent, nil
}

// check compares a digest with what the list says of a file.
func (e *evidence) check(file string, got verify.Digest) error {
	if !e.wanted {
		return nil
	}
	if e.digest != nil {
		if *e.digest != got {
			return fmt.Errorf("checksum of %q is %s, not %s: %w", file, got, e.digest, errInvalidDownload)
		}
		return nil
	}
	want, err := e.list.Find(file)
	if err != nil {
		return fmt.Errorf("look up %q in %s: %w", file, e.source, err)
	}
	if want != got {
		return fmt.Errorf("checksum of %q is %s, but %s says %s: %w", file, got, e.source, want, errInvalidDownload)
	}
	return nil
}

// checkNeighbour compares the digest of a file beside the image. A list that is a
// digest without a name speaks of the image alone.
func (e *evidence) checkNeighbour(file string, got verify.Digest) error {
	if e.wanted && e.list.Bare() {
		return fmt.Errorf("look up %q in %s: %w", file, e.source, verify.ErrNotListed)
	}
	return e.check(file, got)
}

// fetchSmall reads a whole file of at most [evidenceMax] bytes.
func (s *stage) fetchSmall(ctx context.Context, client *fetch.Client, from string) (_ []byte, err error) {
	d, err := client.Open(ctx, fetch.Request{URL: from, MaxSize: evidenceMax})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return io.ReadAll(d)
}

// withSuffix appends to the path of a URL; query and fragment are dropped.
func withSuffix(raw, suffix string) (string, error) {
	return mapPath(raw, func(p string) string { return strings.TrimRight(p, "/") + suffix })
}

// sibling replaces the last component of a URL.
func sibling(raw, name string) (string, error) {
	return mapPath(raw, func(p string) string { return path.Dir(strings.TrimRight(p, "/")) + "/" + name })
}

// mapPath changes the path of a URL as it was written, escapes included.
func mapPath(raw string, change func(string) string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("read URL: %w", err)
	}
	escaped := strings.TrimPrefix(change(u.EscapedPath()), "//")
	if !strings.HasPrefix(escaped, "/") {
		escaped = "/" + escaped
	}
	if u.Path, err = url.PathUnescape(escaped); err != nil {
		return "", fmt.Errorf("read URL: %w", err)
	}
	u.RawPath, u.RawQuery, u.Fragment = escaped, "", ""
	return u.String(), nil
}

// baseName is the last component of a URL as it stands in it, which is the name
// that checksum lists use.
func baseName(raw string) string {
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	return path.Base(raw)
}

// redacted is a URL without the password in it.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Redacted()
}

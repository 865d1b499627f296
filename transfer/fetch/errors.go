package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

var (
	// ErrNotFound is a file that is not there: 404, 410, or a missing local file.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge is a body larger than allowed, or than the server promised.
	ErrTooLarge = errors.New("too large")
	// ErrTruncated is a body that ended early, again and again.
	ErrTruncated = errors.New("ended before its promised size")
	// ErrStalled is a connection on which nearly nothing came.
	ErrStalled = errors.New("stalled")
	// ErrTooManyRedirects is more than ten redirects.
	ErrTooManyRedirects = errors.New("too many redirects")
	// ErrScheme is a URL, or the target of a redirect, that is neither http nor https.
	ErrScheme = errors.New("unsupported URL scheme")
	// ErrChanged is a file that became another one in the middle of its download.
	ErrChanged = errors.New("changed on the server while downloading")
	// ErrNotResumable is a connection lost in the middle of a file that cannot be resumed without the risk of mixing
	// two versions of it.
	ErrNotResumable = errors.New("the server gives no means to resume safely")

	// errNoParts is a server that was asked for a part and sent something else.
	errNoParts = errors.New("the server does not send the parts that it is asked for")
)

// StatusError is an answer that carries no file.
type StatusError struct {
	// URL is what was asked for, without credentials.
	URL  string
	Code int

	retryAfter time.Duration
}

func (e *StatusError) Error() string {
	if text := http.StatusText(e.Code); text != "" {
		return fmt.Sprintf("server answered %d (%s)", e.Code, text)
	}
	return fmt.Sprintf("server answered %d", e.Code)
}

// Is makes 404 and 410 an [ErrNotFound].
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// temporary says whether asking again may help.
func (e *StatusError) temporary() bool {
	switch e.Code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// lostError is a response that broke off.
type lostError struct{ cause error }

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// describe says in plain words what went wrong with a connection.
func describe(err error) error {
	// net/http names the URL again, with whatever it holds.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Errorf("host %q is not known: %w", dns.Name, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the server's certificate is not trusted: %w", err)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("the server does not speak TLS on this port: %w", err)
	}
	return err
}

// temporary says whether trying again may help. Before a server has answered for
// the first time an address that is wrong shall be told at once, so that only
// what is known to pass counts; afterwards everything may pass that is not
// refused on purpose.
func temporary(err error, answered bool) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.temporary()
	}
	for _, final := range []error{ErrTooLarge, ErrTooManyRedirects, ErrScheme, ErrChanged, ErrNotResumable, errNoParts} {
		if errors.Is(err, final) {
			return false
		}
	}
	if _, ok := errors.AsType[*lostError](err); ok || errors.Is(err, ErrStalled) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	return answered || brief(err)
}

// brief tells failures of a connection that tend to pass.
func brief(err error) bool {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTemporary
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isEOF(err)
}

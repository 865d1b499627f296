package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxSize is the limit of a download where the request names none, in bytes.
	DefaultMaxSize = 64 << 30

	maxRedirects   = 10
	maxHeaderBytes = 64 << 10
	readBufferSize = 64 << 10
	connectTimeout = 30 * time.Second
	maxBackoff     = 30 * time.Second
	maxRetryAfter  = 2 * time.Minute
	// minRate is what a connection must bring to count as alive, in bytes per second.
	minRate = 30
)

// Options of a client; the zero value is good.
type Options struct {
	// UserAgent is "berth" if empty.
	UserAgent string
	// StallTimeout is how long a connection may bring less than 30 bytes per second, 60 s if zero. Only time spent
	// waiting for the server counts.
	StallTimeout time.Duration
	// Retries is how often in a row a download tries again without having got any further; 8 if zero, none if negative.
	Retries int
	// BackoffBase is about how long the first wait takes, 500 ms if zero. It doubles up to 30 s.
	BackoffBase time.Duration
	// Roots are trusted in place of the system's certificates.
	Roots *x509.CertPool
	// Getenv looks up the proxy variables; os.Getenv if nil.
	Getenv func(string) string
	// Log is told what a user may want to know: lost connections, attempts, a spool that cannot be used. It may be
	// called from several goroutines at once.
	Log func(text string)
}

// Client opens downloads. It may be used by many goroutines.
type Client struct {
	options Options
	http    *http.Client
	// sleep waits between attempts; tests look at what it is asked for.
	sleep func(context.Context, time.Duration) error
	// enough says whether one connection is fast enough for a download. Tests decide that themselves.
	enough func(rate) bool
	// parts makes the further connections of a download.
	parts *Client
}

// New makes a client.
func New(o Options) *Client {
	if o.UserAgent == "" {
		o.UserAgent = "berth"
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = time.Minute
	}
	if o.Retries == 0 {
		o.Retries = 8
	}
	if o.BackoffBase == 0 {
		o.BackoffBase = 500 * time.Millisecond
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	c := newClient(o, transport(o))
	c.parts = newClient(forParts(o), partsTransport(o))
	return c
}

func newClient(o Options, t *http.Transport) *Client {
	c := &Client{options: o, sleep: sleep, enough: rate.enough}
	c.http = &http.Client{Transport: t, CheckRedirect: c.checkRedirect}
	return c
}

// forParts makes options for connections that are of use only as long as nothing goes wrong with them.
func forParts(o Options) Options {
	o.StallTimeout = min(o.StallTimeout, partStallTimeout)
	o.Retries = -1
	o.Log = func(string) {}
	return o
}

// partsTransport speaks HTTP/1.1 only: by HTTP/2 all requests would share one connection.
func partsTransport(o Options) *http.Transport {
	t := transport(o)
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.MaxIdleConnsPerHost = maxConnections
	return t
}

func transport(o Options) *http.Transport {
	return &http.Transport{
		Proxy:                  proxies{o.Getenv}.proxy,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		IdleConnTimeout:        connectTimeout,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ReadBufferSize:         readBufferSize,
	}
}

// Close drops the connections that are kept for later requests.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.parts.http.CloseIdleConnections()
}

func (c *Client) logf(format string, args ...any) { c.options.Log(fmt.Sprintf(format, args...)) }

func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d", ErrTooManyRedirects, maxRedirects)
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return fmt.Errorf("redirect to a %q URL: %w", r.URL.Scheme, ErrScheme)
	}
	if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme == "http" {
		c.logf("The server redirects from https to http (%s); the rest of the way is not encrypted.", redacted(r.URL))
	}
	return nil
}

// Request is what is fetched.
type Request struct {
	// URL has the scheme http, https or file. Credentials in it are used and never shown.
	URL string
	// MaxSize limits the body in bytes; [DefaultMaxSize] if zero.
	MaxSize int64
	// ETags are those of the versions that the caller has already.
	ETags []string
	// ModifiedSince asks only for a file that is newer. Servers mind it only without ETags.
	ModifiedSince time.Time
	// Spool is the path of the file that keeps what is received, "" for none. See [SpoolName].
	Spool string
	// Progress counts the bytes that were delivered, those of the spool included.
	Progress *atomic.Int64
}

// Open asks for a URL and returns when it is known what will come. The context ends the whole download, not only the
// opening. Errors name the URL; those that callers may test are declared in this package.
func (c *Client) Open(ctx context.Context, req Request) (*Download, error) {
	if req.MaxSize == 0 {
		req.MaxSize = DefaultMaxSize
	}
	u, err := url.Parse(req.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the URL to fetch: %w", describe(err))
	}
	name := redacted(u)
	var d *Download
	switch u.Scheme {
	case "file":
		d, err = openLocal(u, req)
	case "http", "https":
		d, err = c.openRemote(ctx, u, req)
	default:
		err = fmt.Errorf("%w %q", ErrScheme, u.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %q: %w", name, err)
	}
	return d, nil
}

// redacted returns a URL without credentials.
func redacted(u *url.URL) string {
	bare := *u
	bare.User = nil
	return bare.String()
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

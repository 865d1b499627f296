package fetch

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// proxies finds the proxy for a URL in environment variables as curl does: http_proxy in lower case only (HTTP_PROXY can
// be set by a client of a CGI program), https_proxy, all_proxy and no_proxy in both. Unlike curl it never sends requests
// for this very host to a proxy.
type proxies struct {
	getenv func(string) string
}

// proxy has the signature of http.Transport.Proxy.
func (p proxies) proxy(r *http.Request) (*url.URL, error) {
	text := p.lookup(r.URL.Scheme)
	if text == "" || p.direct(r.URL) {
		return nil, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the proxy variable for %s holds no URL", r.URL.Scheme) // it may hold a password
	}
	return u, nil
}

func (p proxies) lookup(scheme string) string {
	names := []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
	if scheme == "http" {
		names = []string{"http_proxy", "all_proxy", "ALL_PROXY"}
	}
	return p.first(names...)
}

func (p proxies) first(names ...string) string {
	for _, name := range names {
		if text := p.getenv(name); text != "" {
			return text
		}
	}
	return ""
}

// direct says whether a URL is reached without a proxy.
func (p proxies) direct(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || isAddr && addr.IsLoopback() {
		return true
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for entry := range strings.FieldsFuncSeq(p.first("no_proxy", "NO_PROXY"), isSeparator) {
		if entry == "*" {
			return true
		}
		if isAddr && coversAddr(entry, addr, port) || !isAddr && coversHost(entry, host, port) {
			return true
		}
	}
	return false
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\t' }

// coversHost matches a domain and everything below it.
func coversHost(entry, host, port string) bool {
	if name, only, ok := strings.Cut(entry, ":"); ok {
		if only != port {
			return false
		}
		entry = name
	}
	entry = strings.Trim(strings.TrimPrefix(strings.ToLower(entry), "*"), ".")
	return entry != "" && (host == entry || strings.HasSuffix(host, "."+entry))
}

// coversAddr matches an address, one with a port, or a network.
func coversAddr(entry string, addr netip.Addr, port string) bool {
	if network, err := netip.ParsePrefix(entry); err == nil {
		return network.Contains(addr.Unmap())
	}
	if host, only, err := net.SplitHostPort(entry); err == nil {
		if only != port {
			return false
		}
		entry = host
	}
	known, err := netip.ParseAddr(strings.Trim(entry, "[]"))
	return err == nil && known == addr
}

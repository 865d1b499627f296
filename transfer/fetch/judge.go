package fetch

import (
	"fmt"
	"net/http"
	"time"
)

// judge decides what a response means for the download.
func (r *remote) judge(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNonAuthoritativeInfo:
		return r.whole(resp)
	case http.StatusPartialContent:
		return r.part(resp)
	case http.StatusNotModified:
		return r.notModified(resp)
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		if r.from() > 0 {
			return r.outdated()
		}
	}
	return &StatusError{
		URL:        redacted(r.url),
		Code:       resp.StatusCode,
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// whole takes a response that begins at the first byte.
func (r *remote) whole(resp *http.Response) error {
	e := entityOf(resp.Header, resp.ContentLength)
	if r.bounded {
		if !r.entity.proves(e) {
			return ErrChanged
		}
		return errNoParts
	}
	if tag, ok := weakly(r.request.ETags, e.ETag); ok && (!r.known || r.speculative) {
		e.ETag = tag
		r.accept(resp, e)
		r.unchanged = true
		return nil
	}
	if r.speculative && (r.offset > 0 || !r.entity.proves(e)) {
		r.forget() // the spool does not fit, or this is more than is missing
	}
	if r.known && !r.speculative {
		return r.again(resp, e)
	}
	if e.Size > r.request.MaxSize {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, e.Size, r.request.MaxSize)
	}
	r.accept(resp, e)
	r.speculative = false
	r.ranges = resp.Header.Get("Accept-Ranges") == "bytes"
	r.ended = e.Size == 0
	return nil
}

// again takes a response that repeats what was delivered.
func (r *remote) again(resp *http.Response, e entity) error {
	if !r.entity.same(e) || r.offset > 0 && !r.entity.proves(e) {
		return ErrChanged
	}
	r.skip = r.offset
	r.accept(resp, r.entity)
	return nil
}

// part takes a response to a range.
func (r *remote) part(resp *http.Response) error {
	from := r.from()
	if r.bounded {
		from = r.offset
	} else if from == 0 {
		return fmt.Errorf("the server sent a part of the file and was asked for all of it")
	}
	first, last, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
	e := entityOf(resp.Header, total)
	if ok && !r.entity.same(e) {
		return r.outdated()
	}
	size := max(r.entity.Size, total)
	end := size
	if r.bounded {
		end = r.limit
	}
	fits := ok && first == from && last == end-1 && (resp.ContentLength < 0 || resp.ContentLength == last-first+1)
	// A server that ignores If-Range may send another version without a word about it.
	proven := r.entity.proves(e)
	switch {
	case fits && proven:
	case r.bounded:
		return errNoParts
	default:
		r.plain = true // it does not do what it says: read all of it again
		return &lostError{fmt.Errorf("the server's answer to a range, Content-Range %q with the ETag %q, does not fit",
			resp.Header.Get("Content-Range"), e.ETag)}
	}
	if size > r.request.MaxSize {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, size, r.request.MaxSize)
	}
	r.accept(resp, r.entity)
	r.entity.Size = size
	r.ranges, r.speculative = true, false
	r.ended = r.offset == size
	return nil
}

// notModified takes the answer that the caller's version is current.
func (r *remote) notModified(resp *http.Response) error {
	if r.known && !r.speculative {
		return fmt.Errorf("the server answered 304 to a request without condition")
	}
	e := entityOf(resp.Header, -1)
	known, ok := weakly(r.request.ETags, e.ETag)
	switch {
	case ok:
		e.ETag = known
	case len(r.request.ETags) == 1 && e.ETag == "":
		e.ETag = r.request.ETags[0]
	case len(r.request.ETags) > 0:
		r.request.ETags, r.request.ModifiedSince = nil, time.Time{} // which of them is current remains unknown
		return &lostError{fmt.Errorf("the server does not say which version is current")}
	case r.request.ModifiedSince.IsZero():
		return fmt.Errorf("the server answered 304 to a request without condition")
	}
	r.accept(resp, e)
	r.unchanged = true
	return nil
}

func (r *remote) accept(resp *http.Response, e entity) {
	r.entity, r.known, r.answered = e, true, true
	r.final = redacted(resp.Request.URL)
	if r.found = resp.Request.URL; r.found.String() == r.url.String() {
		r.found = nil
	}
}

// outdated is what to do when the server has another version than the one that was begun.
func (r *remote) outdated() error {
	if !r.speculative {
		return ErrChanged
	}
	r.forget()
	r.hangUp()
	return r.attempt()
}

// forget gives up what is known from a spool.
func (r *remote) forget() {
	r.entity, r.known, r.speculative, r.offset, r.forgot = entity{}, false, false, 0, true
}

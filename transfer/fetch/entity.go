package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxETag bounds the ETags that are believed, in bytes.
const maxETag = 512

// entity is what a server says of one version of a file.
type entity struct {
	// ETag is kept with its quotes, and with W/ when weak.
	ETag string `json:"etag,omitempty"`
	// Modified is the text of Last-Modified.
	Modified string `json:"modified,omitempty"`
	// Datable says that Modified was old enough when it was told to tell two versions apart (RFC 9110, 8.8.2.2).
	Datable bool `json:"datable,omitempty"`
	// Size is the length of the whole file, -1 if not told.
	Size int64 `json:"size"`
}

func entityOf(h http.Header, size int64) entity {
	e := entity{Size: size}
	if tag := h.Get("ETag"); validETag(tag) {
		e.ETag = tag
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return e
	}
	e.Modified = h.Get("Last-Modified")
	now, err := http.ParseTime(h.Get("Date"))
	e.Datable = err == nil && now.Sub(modified) >= time.Second
	return e
}

// spooledEntity reads what a spool says of its file, and refuses what could not be resumed.
func spooledEntity(about json.RawMessage) (entity, error) {
	var e entity
	if err := json.Unmarshal(about, &e); err != nil {
		return e, fmt.Errorf("parse spool header: %w", err)
	}
	if e.Size <= 0 || e.condition() == "" || e.ETag != "" && !validETag(e.ETag) {
		return e, errors.New("spool header without size or validator")
	}
	if _, err := http.ParseTime(e.Modified); e.Modified != "" && err != nil {
		return e, fmt.Errorf("parse spool header: %w", err)
	}
	return e, nil
}

// condition returns what If-Range takes: the strong validator, or "".
func (e entity) condition() string {
	switch {
	case e.ETag != "" && !strings.HasPrefix(e.ETag, "W/"):
		return e.ETag
	case e.Datable:
		return e.Modified
	}
	return ""
}

// same says whether another response speaks of the same version, as far as both tell.
func (e entity) same(other entity) bool {
	if e.ETag != "" && other.ETag != "" && e.ETag != other.ETag {
		return false
	}
	if e.Modified != "" && other.Modified != "" && e.Modified != other.Modified {
		return false
	}
	return e.Size < 0 || other.Size < 0 || e.Size == other.Size
}

// proves says whether another response carries the validator that this one is resumed by.
func (e entity) proves(other entity) bool {
	return e.condition() != "" && (e.condition() == other.ETag || e.condition() == other.Modified) && e.same(other)
}

// validETag follows RFC 9110, 8.8.3.
func validETag(tag string) bool {
	text := strings.TrimPrefix(tag, "W/")
	if len(tag) > maxETag || len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return false
	}
	for _, c := range []byte(text[1 : len(text)-1]) {
		if c <= 0x20 || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// weakly returns the tag of the list that the given one matches by weak comparison.
func weakly(list []string, tag string) (string, bool) {
	for _, known := range list {
		if tag != "" && strings.TrimPrefix(known, "W/") == strings.TrimPrefix(tag, "W/") {
			return known, true
		}
	}
	return "", false
}

// parseContentRange reads "bytes FIRST-LAST/TOTAL"; the total is -1 for "*".
func parseContentRange(text string) (first, last, total int64, ok bool) {
	text, found := strings.CutPrefix(text, "bytes ")
	span, size, cut := strings.Cut(text, "/")
	from, to, dash := strings.Cut(span, "-")
	if !found || !cut || !dash {
		return 0, 0, 0, false
	}
	first, ok1 := parseSize(from)
	last, ok2 := parseSize(to)
	total, ok3 := parseSize(size)
	if size == "*" {
		total, ok3 = -1, true
	}
	if !ok1 || !ok2 || !ok3 || last < first || total >= 0 && last >= total {
		return 0, 0, 0, false
	}
	return first, last, total, true
}

// parseSize reads digits only: strconv takes signs too.
func parseSize(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

// parseRetryAfter reads seconds or a date; 0 if it is neither.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if seconds, ok := parseSize(text); ok {
		return time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}

package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

const (
	spoolMagic      = "berth spool 2\n"
	spoolHeaderSize = 4096
)

// spoolHeader says what a spool holds.
type spoolHeader struct {
	// Key is the hash of the URL: the URL itself may hold a password.
	Key    string `json:"key"`
	Entity entity `json:"entity"`
}

// block returns the first bytes of a spool, padded with newlines.
func (h spoolHeader) block() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("write spool header: %w", err)
	}
	block := append([]byte(spoolMagic), text...)
	if len(block) > spoolHeaderSize {
		return nil, errors.New("the validators are too long for a spool")
	}
	return append(block, bytes.Repeat([]byte("\n"), spoolHeaderSize-len(block))...), nil
}

// parseSpoolHeader reads what block wrote, and refuses what could not be resumed.
func parseSpoolHeader(block []byte) (spoolHeader, error) {
	var h spoolHeader
	text, ok := bytes.CutPrefix(block, []byte(spoolMagic))
	if !ok {
		return h, errors.New("no spool, or of an unknown version")
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("parse spool header: %w", err)
	}
	e := h.Entity
	if e.Size <= 0 || e.condition() == "" || e.ETag != "" && !validETag(e.ETag) {
		return h, errors.New("spool header without size or validator")
	}
	if _, err := http.ParseTime(e.Modified); e.Modified != "" && err != nil {
		return h, fmt.Errorf("parse spool header: %w", err)
	}
	return h, nil
}

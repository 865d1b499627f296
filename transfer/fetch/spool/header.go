package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	magic      = "berth spool 2\n"
	headerSize = 4096
)

// header says what a spool holds.
type header struct {
	// Key is the hash of the URL: the URL itself may hold a password.
	Key   string          `json:"key"`
	Size  int64           `json:"size"`
	About json.RawMessage `json:"about"`
}

// block returns the first bytes of a spool, padded with newlines.
func (h header) block() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("write spool header: %w", err)
	}
	block := append([]byte(magic), text...)
	if len(block) > headerSize {
		return nil, errors.New("what is known of the file is too long for a spool")
	}
	return append(block, bytes.Repeat([]byte("\n"), headerSize-len(block))...), nil
}

// parseHeader reads what block wrote.
func parseHeader(block []byte) (header, error) {
	var h header
	text, ok := bytes.CutPrefix(block, []byte(magic))
	if !ok {
		return h, errors.New("no spool, or of an unknown version")
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("parse spool header: %w", err)
	}
	if h.Size <= 0 || h.Size > maxSize {
		return h, errors.New("spool header without a size")
	}
	return h, nil
}

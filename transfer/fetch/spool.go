package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const spoolPrefix = ".#spool-"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SpoolName returns the name of the file that keeps what is received from a URL. It begins with ".#", so that nobody
// takes it for an image.
func SpoolName(url string) string { return spoolPrefix + urlKey(url)[:32] }

func urlKey(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// spool keeps stretches of a file, under a lock. One goroutine reads; any may write by a [lane] of their own.
type spool struct {
	file   *os.File
	path   string
	key    string
	entity entity

	old  []record // of an earlier process, not looked at yet, in order
	rest []byte   // what is left of the last one that was
	buf  []byte

	mu    sync.Mutex
	have  spans
	slots int64 // records in the file, void ones included
}

// openSpool returns nil where no spool is wanted or to be had.
func (c *Client) openSpool(req Request) *spool {
	if req.Spool == "" {
		return nil
	}
	s, err := lockSpool(req.Spool)
	if err != nil {
		c.logf("An interrupted download cannot be resumed: %v.", err)
		return nil
	}
	s.key = urlKey(req.URL)
	if err := s.load(); err != nil {
		s.entity, s.have, s.old = entity{}, nil, nil // it is written anew
	}
	return s
}

func lockSpool(path string) (*spool, error) {
	for range 3 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = errors.New("another download of the same URL holds it")
			}
			return nil, errors.Join(fmt.Errorf("lock spool %q: %w", path, err), f.Close())
		}
		ours, err1 := f.Stat()
		named, err2 := os.Lstat(path)
		if err1 == nil && err2 == nil && os.SameFile(ours, named) && ours.Mode().IsRegular() {
			return &spool{file: f, path: path}, nil
		}
		// The one who held the lock has removed it in the meantime.
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close spool: %w", err)
		}
	}
	return nil, fmt.Errorf("lock spool %q: it is being replaced", path)
}

// load reads what an earlier process left. Data is not looked at.
func (s *spool) load() error {
	head := make([]byte, spoolHeaderSize)
	if _, err := s.file.ReadAt(head, 0); err != nil {
		return fmt.Errorf("read spool header: %w", err)
	}
	h, err := parseSpoolHeader(head)
	if err != nil {
		return err
	}
	if h.Key != s.key {
		return errors.New("spool is of another URL")
	}
	s.entity = h.Entity
	s.old, s.slots, err = readRecords(s.file, h.Entity.Size)
	for _, r := range s.old {
		s.have.add(r.span())
	}
	return err
}

// start empties the spool and writes the header for a file.
func (s *spool) start(e entity) error {
	head, err := spoolHeader{Key: s.key, Entity: e}.block()
	if err != nil {
		return err
	}
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("empty spool: %w", err)
	}
	if _, err := s.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write spool header: %w", err)
	}
	s.entity, s.have, s.slots, s.old, s.rest = e, nil, 0, nil, nil
	return nil
}

// gap returns the first stretch that is neither in the spool nor in claimed.
func (s *spool) gap(claimed spans) span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return gap(s.entity.Size, s.have, claimed)
}

// missing returns how many bytes of the file are neither in the spool nor in claimed; the two must not overlap.
func (s *spool) missing(claimed spans) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entity.Size - s.have.length() - claimed.length()
}

// covered returns up to where everything from an offset on is there.
func (s *spool) covered(offset int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.covered(offset)
}

// read copies what is there from an offset on, which is nothing if the byte at the offset is not. Offsets must not go
// back. earlier says that it is from an earlier process: such data is checked first, and where it is damaged it is
// forgotten and the error says so.
func (s *spool) read(p []byte, offset int64) (n int, earlier bool, err error) {
	if len(s.rest) == 0 && len(s.old) > 0 && s.old[0].first == offset {
		if err := s.check(); err != nil {
			return 0, false, err
		}
	}
	if len(s.rest) > 0 {
		n = copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, true, nil
	}
	end := s.covered(offset)
	if len(s.old) > 0 {
		end = min(end, s.old[0].first)
	}
	n, err = s.file.ReadAt(p[:min(int64(len(p)), end-offset)], spoolHeaderSize+offset)
	if err != nil {
		err = fmt.Errorf("read spool %q: %w", s.path, err)
	}
	return n, false, err
}

// check reads the next record of an earlier process.
func (s *spool) check() error {
	r := s.old[0]
	s.old = s.old[1:]
	if s.buf == nil {
		s.buf = make([]byte, maxRecord)
	}
	data := s.buf[:r.length]
	_, err := s.file.ReadAt(data, spoolHeaderSize+r.first)
	if err == nil && crc32.Checksum(data, castagnoli) == r.sum {
		s.rest = data
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("it is damaged")
	}
	s.mu.Lock()
	s.have.remove(r.span())
	s.mu.Unlock()
	return errors.Join(fmt.Errorf("read spool %q at offset %d: %w", s.path, r.first, err), s.erase(r))
}

// discard removes the file while the lock is held.
func (s *spool) discard() error {
	if err := os.Remove(s.path); err != nil {
		return errors.Join(fmt.Errorf("remove spool: %w", err), s.file.Close())
	}
	return s.file.Close()
}

// close keeps the file if something is in it. A nil spool has nothing to close.
func (s *spool) close() error {
	if s == nil {
		return nil
	}
	if len(s.have) == 0 {
		return s.discard()
	}
	return s.file.Close()
}

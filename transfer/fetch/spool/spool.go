package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	prefix = ".#spool-"
	// maxSize bounds a file, so that no offset can overflow.
	maxSize = 1 << 60
)

// ErrDamaged is data of an earlier process that is not what that has received.
var ErrDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Name returns the name of the file that keeps what is received from a URL. It begins with ".#", so that nobody takes it
// for an image.
func Name(url string) string { return prefix + key(url)[:32] }

func key(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// File is a spool that is held by this process. One goroutine reads; any may write by a [Lane] of their own.
type File struct {
	file   *os.File
	path   string
	header header

	old  []record // of an earlier process, not looked at yet, in order
	rest []byte   // what is left of the last one that was
	buf  []byte

	mu    sync.Mutex
	have  Spans
	slots int64 // records in the file, void ones included
}

// Open takes the spool of a URL, making one if there is none. What cannot be used of an existing one is left out, which
// may be all of it. An error says that there is no spool to be had, for one because another process holds it.
func Open(path, url string) (*File, error) {
	s, err := lock(path)
	if err != nil {
		return nil, err
	}
	s.header.Key = key(url)
	if err := s.load(); err != nil {
		s.clear() // it is written anew
	}
	return s, nil
}

func lock(path string) (*File, error) {
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
			return &File{file: f, path: path}, nil
		}
		// The one who held the lock has removed it in the meantime.
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close spool: %w", err)
		}
	}
	return nil, fmt.Errorf("lock spool %q: it is being replaced", path)
}

// load reads what an earlier process left. Data is not looked at.
func (s *File) load() error {
	head := make([]byte, headerSize)
	if _, err := s.file.ReadAt(head, 0); err != nil {
		return fmt.Errorf("read spool header: %w", err)
	}
	h, err := parseHeader(head)
	if err != nil {
		return err
	}
	if h.Key != s.header.Key {
		return errors.New("spool is of another URL")
	}
	s.header = h
	s.old, s.slots, err = readRecords(s.file, h.Size)
	for _, r := range s.old {
		s.have.Add(r.span())
	}
	return err
}

// clear forgets everything but the URL.
func (s *File) clear() {
	s.header = header{Key: s.header.Key}
	s.old, s.rest, s.have, s.slots = nil, nil, nil, 0
}

// About returns what [File.Start] was given about the file, nil if nothing of it is there.
func (s *File) About() json.RawMessage {
	if s.Empty() {
		return nil
	}
	return s.header.About
}

// Empty says whether there is nothing to read.
func (s *File) Empty() bool { return s.length() == 0 }

func (s *File) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Length()
}

// Start empties the spool for a file of a size in bytes. No lane that was used before may be used after it.
func (s *File) Start(size int64, about json.RawMessage) error {
	if size <= 0 || size > maxSize {
		return fmt.Errorf("a file of %d bytes has no place in a spool", size)
	}
	s.clear()
	s.header.Size, s.header.About = size, about
	head, err := s.header.block()
	if err != nil {
		return err
	}
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("empty spool: %w", err)
	}
	if _, err := s.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write spool header: %w", err)
	}
	return nil
}

// Gap returns the first stretch of the file that is neither in the spool nor in claimed.
func (s *File) Gap(claimed Spans) Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return gap(s.header.Size, s.have, claimed)
}

// Missing returns how many bytes of the file are neither in the spool nor in claimed.
func (s *File) Missing(claimed Spans) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.have)
	for _, one := range claimed {
		all.Add(one)
	}
	return s.header.Size - all.Length()
}

// Room returns how many bytes the file system has left for this user.
func (s *File) Room() int64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.file.Fd()), &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// Has says whether the byte at an offset is there.
func (s *File) Has(offset int64) bool { return s.covered(offset) > offset }

func (s *File) covered(offset int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.covered(offset)
}

// Read copies what is there from an offset on, which is nothing if the byte at the offset is not. Offsets must not go
// back. earlier says that it is from an earlier process: such data is checked first, and where it is damaged it is
// forgotten and the error is [ErrDamaged]. After any other error the spool is of no use.
func (s *File) Read(p []byte, offset int64) (n int, earlier bool, err error) {
	for len(s.rest) == 0 && len(s.old) > 0 && s.old[0].first < offset {
		s.old = s.old[1:] // passed by
	}
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
	n, err = s.file.ReadAt(p[:min(int64(len(p)), end-offset)], headerSize+offset)
	if err != nil {
		return 0, false, fmt.Errorf("read spool: %w", err)
	}
	return n, false, nil
}

// check reads the next record of an earlier process.
func (s *File) check() error {
	r := s.old[0]
	s.old = s.old[1:]
	if s.buf == nil {
		s.buf = make([]byte, maxRecord)
	}
	data := s.buf[:r.length]
	_, err := s.file.ReadAt(data, headerSize+r.first)
	if err == nil && crc32.Checksum(data, castagnoli) == r.sum {
		s.rest = data
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read spool: %w", err)
	}
	s.mu.Lock()
	s.have.Remove(r.span())
	s.mu.Unlock()
	if err := s.erase(r); err != nil {
		return err
	}
	return fmt.Errorf("spool %q is %w at offset %d", s.path, ErrDamaged, r.first)
}

// Discard removes the file.
func (s *File) Discard() error {
	if err := os.Remove(s.path); err != nil { // while the lock is held
		return errors.Join(fmt.Errorf("remove spool: %w", err), s.file.Close())
	}
	return s.file.Close()
}

// Close keeps the file if something is in it. A nil spool has nothing to close.
func (s *File) Close() error {
	if s == nil {
		return nil
	}
	if s.Empty() {
		return s.Discard()
	}
	return s.file.Close()
}

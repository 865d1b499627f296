package fetch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	spoolPrefix = ".#spool-"
	frameHead   = 8
	maxFrame    = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SpoolName returns the name of the file that keeps what is received from a URL. It begins with ".#", so that nobody
// takes it for an image.
func SpoolName(url string) string { return spoolPrefix + urlKey(url)[:32] }

func urlKey(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// spool keeps the first bytes of a file, under a lock. Reading goes through it once; after that it is appended to.
type spool struct {
	file   *os.File
	path   string
	key    string
	entity entity
	length int64 // payload in bytes

	end  int64  // offset in the file behind the last whole frame
	at   int64  // offset in the file of the next frame to replay
	data []byte // what is left of the frame that is replayed
	buf  []byte
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
		s.length, s.entity = 0, entity{} // it is written anew
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

// load reads the header and finds the end of the last whole frame. Data is not looked at.
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
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("examine spool: %w", err)
	}
	s.entity, s.end, s.at = h.Entity, spoolHeaderSize, spoolHeaderSize
	for {
		size, _, err := s.frame(s.end)
		if err != nil || s.end+frameHead+size > info.Size() || s.length+size > s.entity.Size {
			break
		}
		s.end += frameHead + size
		s.length += size
	}
	if err := s.file.Truncate(s.end); err != nil { // a frame that was torn by a crash
		return fmt.Errorf("cut spool: %w", err)
	}
	return nil
}

// frame reads the head of the frame at an offset of the file.
func (s *spool) frame(at int64) (size int64, sum uint32, err error) {
	var head [frameHead]byte
	if _, err := s.file.ReadAt(head[:], at); err != nil {
		return 0, 0, fmt.Errorf("read spool: %w", err)
	}
	size = int64(binary.LittleEndian.Uint32(head[:]))
	if size == 0 || size > maxFrame {
		return 0, 0, errors.New("no frame")
	}
	return size, binary.LittleEndian.Uint32(head[4:]), nil
}

// Read replays the payload. An error means that the frame that is next cannot be used.
func (s *spool) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *spool) next() error {
	if s.at >= s.end {
		return io.ErrUnexpectedEOF
	}
	size, sum, err := s.frame(s.at)
	if err != nil {
		return err
	}
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	data := s.buf[:size]
	if _, err := s.file.ReadAt(data, s.at+frameHead); err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	if crc32.Checksum(data, castagnoli) != sum {
		return fmt.Errorf("spool %q is damaged at offset %d", s.path, s.at)
	}
	s.at += frameHead + size
	s.data = data
	return nil
}

// cutOff drops everything from the frame on that could not be replayed.
func (s *spool) cutOff() error {
	s.end, s.data = s.at, nil
	if err := s.file.Truncate(s.end); err != nil {
		return fmt.Errorf("cut spool: %w", err)
	}
	return nil
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
	s.entity, s.length = e, 0
	s.end, s.at = spoolHeaderSize, spoolHeaderSize
	return nil
}

// append adds what was received.
func (s *spool) append(p []byte) error {
	for len(p) > 0 {
		data := p[:min(len(p), maxFrame)]
		s.buf = binary.LittleEndian.AppendUint32(s.buf[:0], uint32(len(data)))
		s.buf = binary.LittleEndian.AppendUint32(s.buf, crc32.Checksum(data, castagnoli))
		s.buf = append(s.buf, data...)
		if _, err := s.file.WriteAt(s.buf, s.end); err != nil {
			return fmt.Errorf("write spool: %w", err)
		}
		s.end += int64(len(s.buf))
		s.length += int64(len(data))
		p = p[len(data):]
	}
	return nil
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
	if s.length == 0 {
		return s.discard()
	}
	return s.file.Close()
}

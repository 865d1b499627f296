package compress

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	bzip2HeaderLen = 4
	// bzip2MaxPiece is more than any block takes, in bytes: 900,000 symbols of at
	// most 20 bits, and their tables.
	bzip2MaxPiece = 3 << 20
	// bzip2EndBits are the mark and the checksum at the end of a stream.
	bzip2EndBits = bzip2MarkBits + 32
	// bzip2Fill is how much is read at once.
	bzip2Fill = 64 << 10
)

// ending is what follows a piece.
type ending int

const (
	atMark ending = iota // the next piece
	atEnd                // the end of the input
	tooFar               // more than a piece may have
)

// piece is a part of a file from a mark up to the next. That is a block, or the end
// of a stream with the header of the next one; or less, where the bits of a mark
// occur within a block.
type piece struct {
	bitBuffer
	offset int // of the first bit, in the byte of the file where it stands
	ending ending
}

// splitter cuts a bzip2 file at all marks.
type splitter struct {
	in       *bufio.Reader
	buf      []byte // of the file, from the byte in which the next piece begins
	start    int    // the bit in that byte
	searched int    // bits of buf up to which there is no mark but at start
}

// begin reads the header of the first stream and returns its level. A mark must
// follow.
func (s *splitter) begin() (level byte, err error) {
	header := make([]byte, bzip2HeaderLen)
	if _, err := io.ReadFull(s.in, header); err != nil {
		return 0, unexpected(err)
	}
	if level, err = bzip2Level(string(header)); err != nil {
		return 0, fmt.Errorf("%w: header", ErrCorrupt)
	}
	for len(s.buf) <= bzip2MarkBits/8 {
		if err := s.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	if bit, found := bzip2Marks.find(s.buf, 0); !found || bit > 0 {
		return 0, fmt.Errorf("%w: no block follows the header", ErrCorrupt)
	}
	s.searched = 1
	return level, nil
}

// bzip2Level returns the level that a header has, io.ErrUnexpectedEOF for the
// beginning of one.
func bzip2Level(header string) (byte, error) {
	const magic = "BZh"
	if len(header) < bzip2HeaderLen && strings.HasPrefix(magic, header) {
		return 0, io.ErrUnexpectedEOF
	}
	if !strings.HasPrefix(header, magic) || header[3] < '1' || header[3] > '9' {
		return 0, ErrTrailingData
	}
	return header[3], nil
}

// next returns a piece; it must not be called after one that does not end at a mark.
func (s *splitter) next() piece {
	for {
		if bit, found := bzip2Marks.find(s.buf, s.searched); found {
			return s.take(bit, atMark)
		}
		s.searched = max(s.searched, 8*(len(s.buf)-6))
		if len(s.buf) > bzip2MaxPiece {
			return s.take(8*len(s.buf), tooFar)
		}
		if err := s.fill(); err != nil {
			// If it is another error than io.EOF, the source has kept it.
			return s.take(8*len(s.buf), atEnd)
		}
	}
}

// take cuts a piece off that ends before a bit.
func (s *splitter) take(end int, how ending) piece {
	p := piece{offset: s.start, ending: how}
	p.add(s.buf, s.start, end-s.start)
	s.buf = append(s.buf[:0], s.buf[end/8:]...)
	s.start = end % 8
	s.searched = s.start + 1
	return p
}

func (s *splitter) fill() error {
	s.buf = slices.Grow(s.buf, bzip2Fill)
	n, err := s.in.Read(s.buf[len(s.buf) : len(s.buf)+bzip2Fill])
	s.buf = s.buf[:len(s.buf)+n]
	if n > 0 {
		return nil // the source gives its error again
	}
	return err
}

// final says whether the piece begins with the mark that ends a stream.
func (p *piece) final() bool {
	return p.bits >= bzip2MarkBits && p.uint(0, bzip2MarkBits) == bzip2FinalMark
}

// sum is the checksum behind the mark, of a block or of a stream.
func (p *piece) sum() uint32 { return uint32(p.uint(bzip2MarkBits, 32)) }

// following returns the level of the stream that begins after the end of another,
// and io.EOF if there is none.
func (p *piece) following() (level byte, err error) {
	end := bzip2EndBits
	end += -(p.offset + end) & 7 // streams begin at whole bytes
	rest := p.bits - end
	if rest < 0 {
		return 0, p.lacking()
	}
	var header bitBuffer
	header.add(p.data, end, min(rest, 8*bzip2HeaderLen))
	switch level, err = bzip2Level(string(header.data)); {
	case rest == 0 && p.ending == atEnd:
		return 0, io.EOF
	case err != nil:
		return 0, err
	case rest == header.bits && p.ending == atMark:
		return level, nil
	}
	return 0, p.lacking()
}

// lacking is the error for an end of a stream that no mark follows in its place: a
// mark that is cut is none.
func (p *piece) lacking() error {
	if p.ending == atEnd && p.bits <= bzip2EndBits+7+8*bzip2HeaderLen+bzip2MarkBits {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: neither a block nor an end where one should be", ErrCorrupt)
}

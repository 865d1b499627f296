package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const (
	// xzPieceSize is how much a piece decodes to at least, in bytes: the start of a
	// program is little against that.
	xzPieceSize = 8 << 20
	// xzPieceWindow is the biggest window of blocks that are decoded side by side,
	// as each takes one.
	xzPieceWindow = 8 << 20
	// xzPieceBlocks bounds the index of a piece.
	xzPieceBlocks = 1024
)

// xzCutter makes pieces of .xz files. It reads what stands between the blocks, and
// so finds out whether they are those that the index has.
type xzCutter struct {
	to      *xzPieces
	start   startXZ
	streams *xzStreams

	begun  bool     // there is a piece, or was
	piece  *xzPiece // under way, or nil
	unit   []byte   // of its input, not yet given
	size   uint64   // what its blocks decode to
	blocks int      // in it
	stream bool     // within a stream of it
	index  []byte   // of that stream: its records
	count  uint64   // of these
}

// run makes all pieces and returns what comes after them: a reader, or an error
// which is [io.EOF] at the end of the file.
func (c *xzCutter) run() (rest io.ReadCloser, err error) {
	defer c.drop()
	for {
		header, err := c.streams.next()
		if header == nil && err == nil { // a stream begins or ends
			if err := c.endStream(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil || !c.takes(header) {
			if err := c.finish(); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return nil, err
		}
		if !c.cuts(header) {
			return c.leave(header)
		}
		if err := c.block(header); err != nil {
			return nil, err
		}
	}
}

// cuts says whether a block is one for a piece. The first of a file must be one that
// is decoded beside others: else there is no use in pieces.
func (c *xzCutter) cuts(h *xzBlockHeader) bool {
	return h.compressed != xzUnknownSize && h.promised != xzUnknownSize && (c.begun || !h.heavy())
}

// takes says whether the block may be in the piece under way. Others may be where a
// heavy one is, so that whoever makes them in turn does not get a program for each.
func (c *xzCutter) takes(h *xzBlockHeader) bool {
	return c.piece == nil || c.cuts(h) && c.size < xzPieceSize && c.blocks < xzPieceBlocks &&
		(c.piece.slots > 1 || !h.heavy())
}

// heavy says that a block may need more memory than can be had twice.
func (h *xzBlockHeader) heavy() bool { return h.filters != nil || h.window > xzPieceWindow }

// leave returns a reader of all that is left, from a block on whose header was
// read.
func (c *xzCutter) leave(h *xzBlockHeader) (io.ReadCloser, error) {
	if c.streams.blocks.count == 0 {
		if err := c.take(xzSide); err != nil {
			return nil, err
		}
		head := append(xzStreamHeader(c.streams.flags), h.raw...)
		child, err := c.start(io.MultiReader(bytes.NewReader(head), c.streams.in.in))
		if err != nil {
			return nil, err
		}
		return child, nil
	}
	block, err := newXZBlock(c.streams.in, h, c.streams.flags)
	if err != nil {
		return nil, err
	}
	c.streams.block = block
	return io.NopCloser(c.streams), nil
}

// block adds a block to the piece.
func (c *xzCutter) block(h *xzBlockHeader) error {
	check, _, err := xzCheck(c.streams.flags[1])
	if err != nil {
		return err
	}
	if c.piece == nil {
		if err := c.begin(h.heavy()); err != nil {
			return err
		}
	}
	if !c.stream {
		if err := c.give(xzStreamHeader(c.streams.flags)); err != nil {
			return err
		}
		c.stream = true
	}
	unpadded := uint64(len(h.raw)) + h.compressed
	rest := h.compressed + padding(h.compressed)
	if check != nil {
		unpadded += uint64(check.Size())
		rest += uint64(check.Size())
	}
	if err := c.give(h.raw); err != nil {
		return err
	}
	if err := c.pass(rest); err != nil {
		return err
	}
	c.streams.blocks.add(unpadded, h.promised)
	c.index = binary.AppendUvarint(binary.AppendUvarint(c.index, unpadded), h.promised)
	c.count++
	c.blocks++
	c.size += h.promised
	return nil
}

// take waits until n more programs may run.
func (c *xzCutter) take(n int) error {
	for range n {
		select {
		case c.to.slots <- struct{}{}:
		case <-c.to.quit:
			return ErrClosed
		}
	}
	return nil
}

// begin starts a program for the next piece, beside another or alone.
func (c *xzCutter) begin(alone bool) (err error) {
	p := &xzPiece{input: make(chan []byte, xzFed), held: make(chan []byte, xzHeld), front: make(chan struct{}), slots: 1}
	if alone {
		p.slots = xzSide
	}
	if err := c.take(p.slots); err != nil {
		return err
	}
	if p.child, err = c.start(&xzInput{units: p.input, free: c.to.fed}); err != nil {
		return err
	}
	c.to.running.Go(func() { c.to.fill(p) })
	c.to.order <- p // never blocks: it has room for all slots
	c.begun = true
	c.piece, c.size, c.blocks, c.stream = p, 0, 0, false
	return nil
}

// endStream ends the stream in the piece, as a file ends.
func (c *xzCutter) endStream() error {
	if !c.stream {
		return nil
	}
	index := append(binary.AppendUvarint([]byte{0}, c.count), c.index...)
	index = append(index, make([]byte, padding(uint64(len(index))))...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	c.stream, c.count, c.index = false, 0, c.index[:0]
	if err := c.give(append(index, xzStreamFooter(c.streams.flags, len(index))...)); err != nil {
		return err
	}
	if c.streams.in.in.Buffered() == 0 {
		c.hand() // it may be long until there is more, if there is
	}
	return nil
}

// finish ends the piece.
func (c *xzCutter) finish() error {
	if err := c.endStream(); err != nil {
		return err
	}
	c.drop()
	return nil
}

// drop ends the input of the piece, whole or not.
func (c *xzCutter) drop() {
	if c.piece == nil {
		return
	}
	if c.unit != nil {
		c.hand()
	}
	close(c.piece.input)
	c.piece, c.stream = nil, false
}

// hand gives the unit to the program.
func (c *xzCutter) hand() {
	c.piece.input <- c.unit // never blocks: it has room for all
	c.unit = nil
}

// give adds bytes to the input of the piece.
func (c *xzCutter) give(p []byte) error {
	for len(p) > 0 {
		if err := c.room(); err != nil {
			return err
		}
		n := copy(c.unit[len(c.unit):cap(c.unit)], p)
		c.unit, p = c.unit[:len(c.unit)+n], p[n:]
	}
	return nil
}

// pass adds the next n bytes of the file to the input of the piece.
func (c *xzCutter) pass(n uint64) error {
	for n > 0 {
		if err := c.room(); err != nil {
			return err
		}
		free := c.unit[len(c.unit):cap(c.unit)]
		got, err := c.streams.in.Read(free[:min(uint64(len(free)), n)])
		c.unit, n = c.unit[:len(c.unit)+got], n-uint64(got)
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// room makes room in c.unit.
func (c *xzCutter) room() error {
	if c.unit != nil && len(c.unit) < cap(c.unit) {
		return nil
	}
	if c.unit != nil {
		c.hand()
	}
	select {
	case unit := <-c.to.fed:
		if unit == nil {
			unit = make([]byte, xzUnit)
		}
		c.unit = unit[:0]
		return nil
	case <-c.to.quit:
		return ErrClosed
	}
}

// xzStreamHeader makes what section 2.1.1 describes.
func xzStreamHeader(flags [2]byte) []byte {
	head := append([]byte(xzMagic), flags[:]...)
	return binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(flags[:]))
}

// xzStreamFooter makes what section 2.1.2 describes.
func xzStreamFooter(flags [2]byte, index int) []byte {
	sizeAndFlags := binary.LittleEndian.AppendUint32(nil, uint32(index/4-1))
	sizeAndFlags = append(sizeAndFlags, flags[:]...)
	foot := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(sizeAndFlags))
	return append(append(foot, sizeAndFlags...), xzFooterMagic...)
}

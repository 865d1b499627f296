package compress

import (
	"bytes"
	"compress/bzip2"
	"io"
)

// bzip2Decoder decodes one block after the other. They are joined to one file for
// the decoder of the standard library, which would take 3.6 MB anew for each
// otherwise.
type bzip2Decoder struct {
	blocks <-chan *bzip2Block
	free   <-chan []byte // chunks to use again
	block  *bzip2Block   // under way; nil: none is left
	in     *bytes.Reader
	begun  bool // there was output of it
}

var (
	_ io.ByteReader = (*bzip2Decoder)(nil)
	_ io.Reader     = (*bzip2Decoder)(nil)
)

// run ends when blocks is closed and all of it is decoded or dropped.
func (d *bzip2Decoder) run() {
	for d.next() {
		d.decode()
	}
}

// next begins with another block.
func (d *bzip2Decoder) next() bool {
	d.block = nil
	for b := range d.blocks {
		select {
		case <-b.drop:
			b.end(ErrClosed)
			continue
		default:
		}
		d.block, d.in, d.begun = b, b.stream(), false
		return true
	}
	return false
}

// decode goes on until a block fails or none is left.
func (d *bzip2Decoder) decode() {
	out := bzip2.NewReader(d)
	for {
		chunk := d.chunk()
		n, err := out.Read(chunk)
		if n > 0 {
			d.begun = true
			if !d.block.send(chunk[:n]) {
				err = ErrClosed
			}
		}
		if err == nil {
			continue
		}
		if d.block != nil {
			d.block.end(err)
		}
		return
	}
}

func (d *bzip2Decoder) chunk() []byte {
	select {
	case chunk := <-d.free:
		return chunk[:cap(chunk)]
	default:
		return make([]byte, bzip2Chunk)
	}
}

// ReadByte is where the decoder takes its input. When it asks for more than a block
// has, it is at the end of the file that the block was made, or in a block that is
// not whole. The first it is only after all output.
func (d *bzip2Decoder) ReadByte() (byte, error) {
	for {
		b, err := d.in.ReadByte()
		if err == nil || !d.begun {
			return b, err
		}
		d.block.end(nil)
		if !d.next() {
			return 0, io.EOF
		}
	}
}

// Read is there because the decoder takes a reader; it never calls this.
func (d *bzip2Decoder) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if p[n], err = d.ReadByte(); err == nil {
			n++
		}
	}
	return n, err
}

package disk_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/transfer/disk"
)

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) }

// forged is a qcow2 image made by hand: a header, one table of each level and two data clusters, in clusters of 4 KiB.
type forged struct {
	version, bits, crypt, l1Size uint32
	backing, size, l1Offset      uint64
	incompatible                 uint64
	headerLength                 uint32
	compression                  byte
	l1                           [4]uint64
	l2                           [8]uint64
	data                         []byte // from the fourth cluster on
	truncate                     int
}

const forgedCluster = 4096

// valid is one that converts: data, a zero cluster, a hole and data.
func valid() forged {
	return forged{
		version: 3, bits: 12, l1Size: 1, size: 4 * forgedCluster, l1Offset: forgedCluster, headerLength: 112,
		l1:   [4]uint64{1<<63 | 2*forgedCluster},
		l2:   [8]uint64{1<<63 | 3*forgedCluster, 1, 0, 1<<63 | 4*forgedCluster},
		data: append(bytes.Repeat([]byte("a"), forgedCluster), bytes.Repeat([]byte("b"), forgedCluster)...),
	}
}

func (q forged) bytes() []byte {
	p := make([]byte, 3*forgedCluster, 3*forgedCluster+len(q.data))
	big := binary.BigEndian
	copy(p, "QFI\xfb")
	big.PutUint32(p[4:], q.version)
	big.PutUint64(p[8:], q.backing)
	big.PutUint32(p[20:], q.bits)
	big.PutUint64(p[24:], q.size)
	big.PutUint32(p[32:], q.crypt)
	big.PutUint32(p[36:], q.l1Size)
	big.PutUint64(p[40:], q.l1Offset)
	big.PutUint64(p[72:], q.incompatible)
	big.PutUint32(p[100:], q.headerLength)
	p[104] = q.compression
	for i, e := range q.l1 {
		big.PutUint64(p[forgedCluster+8*i:], e)
	}
	for i, e := range q.l2 {
		big.PutUint64(p[2*forgedCluster+8*i:], e)
	}
	p = append(p, q.data...)
	if q.truncate > 0 {
		p = p[:q.truncate]
	}
	return p
}

func deflated(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(p)
	_ = w.Close()
	return b.Bytes()
}

// packed is a table entry for a compressed cluster in clusters of 4 KiB.
func packed(offset, sectors uint64) uint64 { return 1<<62 | sectors<<58 | offset }

// inMemory makes a file without a disk, on which holes can be made too.
func inMemory(t testing.TB, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "image in memory")
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(content)
	must(t, err)
	return f
}

func convertBytes(t testing.TB, image []byte, sizeMax int64) ([]byte, error) {
	t.Helper()
	dst := inMemory(t, nil)
	if err := disk.ConvertQcow2(t.Context(), inMemory(t, image), dst, disk.Options{SizeMax: sizeMax}); err != nil {
		return nil, err
	}
	info, err := dst.Stat()
	must(t, err)
	got := make([]byte, info.Size())
	if len(got) > 0 {
		_, err = dst.ReadAt(got, 0)
		must(t, err)
	}
	return got, nil
}

func TestConvertForged(t *testing.T) {
	want := strings.Repeat("a", forgedCluster) + strings.Repeat("\x00", 2*forgedCluster) + strings.Repeat("b", forgedCluster)
	small := deflated([]byte(want[:forgedCluster]))
	for name, change := range map[string]func(*forged){
		"as it is":   func(*forged) {},
		"dirty":      func(q *forged) { q.incompatible = 1 },
		"old length": func(q *forged) { q.headerLength = 104 },
		"version 2":  func(q *forged) { q.version, q.l2[1] = 2, 0 },
		"cut in its last cluster": func(q *forged) {
			q.size -= forgedCluster - 512
			q.truncate = 4*forgedCluster + 512
		},
		"compressed": func(q *forged) {
			q.l2[0] = packed(3*forgedCluster+100, 0)
			copy(q.data[100:], small)
		},
		"compressed up to the end of the file": func(q *forged) {
			q.l2[0] = packed(5*forgedCluster, 0)
			q.data = append(q.data, small...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := valid()
			change(&q)
			got, err := convertBytes(t, q.bytes(), 0)
			if err != nil || string(got) != want[:q.size] {
				t.Errorf("converted to %d bytes of %q, %v", len(got), head(got), err)
			}
		})
	}
}

func head(p []byte) []byte { return p[:min(len(p), 16)] }

// hostile is a change that makes an image one to be refused, and why.
type hostile struct {
	change func(*forged)
	want   error
}

func refuse(t *testing.T, tests map[string]hostile) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := valid()
			test.change(&q)
			if _, err := convertBytes(t, q.bytes(), 0); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestConvertHostileHeader(t *testing.T) {
	refuse(t, map[string]hostile{
		"version 1":                  {func(q *forged) { q.version = 1 }, disk.ErrUnsupported},
		"version 4":                  {func(q *forged) { q.version = 4 }, disk.ErrUnsupported},
		"nothing but a signature":    {func(q *forged) { q.truncate = 4 }, disk.ErrCorrupt},
		"header cut short":           {func(q *forged) { q.truncate = 80 }, disk.ErrCorrupt},
		"header length 0":            {func(q *forged) { q.headerLength = 0 }, disk.ErrCorrupt},
		"header past a cluster":      {func(q *forged) { q.headerLength = 2 * forgedCluster }, disk.ErrCorrupt},
		"header past the file":       {func(q *forged) { q.headerLength = 1 << 31 }, disk.ErrCorrupt},
		"tiny clusters":              {func(q *forged) { q.bits = 8 }, disk.ErrCorrupt},
		"huge clusters":              {func(q *forged) { q.bits = 22 }, disk.ErrCorrupt},
		"clusters of 2^4294967295":   {func(q *forged) { q.bits = 1<<32 - 1 }, disk.ErrCorrupt},
		"encrypted":                  {func(q *forged) { q.crypt = 1 }, disk.ErrEncrypted},
		"backing file past the file": {func(q *forged) { q.backing = 1 << 60 }, disk.ErrBackingFile},
		"marked corrupt":             {func(q *forged) { q.incompatible = 1 << 1 }, disk.ErrCorrupt},
		"external data":              {func(q *forged) { q.incompatible = 1 << 2 }, disk.ErrUnsupported},
		"unknown feature":            {func(q *forged) { q.incompatible = 1 << 40 }, disk.ErrUnsupported},
		"compression without bit":    {func(q *forged) { q.compression = 1 }, disk.ErrCorrupt},
		"bit without compression":    {func(q *forged) { q.incompatible = 1 << 3 }, disk.ErrCorrupt},
		"unknown compression":        {func(q *forged) { q.incompatible, q.compression = 1<<3, 2 }, disk.ErrUnsupported},
		"disk larger than its table": {func(q *forged) { q.size = 1 << 40 }, disk.ErrCorrupt},
		"disk of 2^64":               {func(q *forged) { q.size = 1<<64 - 1 }, disk.ErrTooLarge},
		"disk of 2^63":               {func(q *forged) { q.size = 1<<63 - 1 }, disk.ErrTooLarge},
	})
}

func TestConvertHostileTables(t *testing.T) {
	refuse(t, map[string]hostile{
		"table of 2^32 entries":       {func(q *forged) { q.l1Size = 1<<32 - 1 }, disk.ErrCorrupt},
		"table past the file":         {func(q *forged) { q.l1Offset = 1 << 40 }, disk.ErrCorrupt},
		"table at 2^64":               {func(q *forged) { q.l1Offset = 1<<64 - forgedCluster }, disk.ErrCorrupt},
		"table not aligned":           {func(q *forged) { q.l1Offset += 8 }, disk.ErrCorrupt},
		"table in the header":         {func(q *forged) { q.l1Offset = 0 }, disk.ErrCorrupt},
		"table larger than the file":  {func(q *forged) { q.l1Size, q.size = 1<<20, 1<<41 }, disk.ErrCorrupt},
		"second table past the file":  {func(q *forged) { q.l1[0] = 1 << 50 }, disk.ErrCorrupt},
		"second table not aligned":    {func(q *forged) { q.l1[0] += 512 }, disk.ErrCorrupt},
		"second table is the first":   {func(q *forged) { q.l1[0] = forgedCluster }, disk.ErrCorrupt},
		"second table twice":          {func(q *forged) { q.l1Size, q.size, q.l1[1] = 2, 513*forgedCluster, q.l1[0] }, disk.ErrCorrupt},
		"data past the file":          {func(q *forged) { q.l2[0] = 5 * forgedCluster }, disk.ErrCorrupt},
		"data not aligned":            {func(q *forged) { q.l2[0] += 512 }, disk.ErrCorrupt},
		"data is the first table":     {func(q *forged) { q.l2[0] = forgedCluster }, disk.ErrCorrupt},
		"data is its own table":       {func(q *forged) { q.l2[0] = 2 * forgedCluster }, disk.ErrCorrupt},
		"data twice":                  {func(q *forged) { q.l2[1] = q.l2[0] }, disk.ErrCorrupt},
		"zero flag in version 2":      {func(q *forged) { q.version = 2 }, disk.ErrCorrupt},
		"compressed past the file":    {func(q *forged) { q.l2[0] = packed(5*forgedCluster, 0) }, disk.ErrCorrupt},
		"compressed over the end":     {func(q *forged) { q.l2[0] = packed(4*forgedCluster+3584, 1); q.l2[3] = 0 }, disk.ErrCorrupt},
		"compressed is the header":    {func(q *forged) { q.l2[0] = packed(0, 0) }, disk.ErrCorrupt},
		"compressed is data":          {func(q *forged) { q.l2[0] = packed(4*forgedCluster+7, 0) }, disk.ErrCorrupt},
		"compressed runs into data":   {func(q *forged) { q.l2[0] = packed(3*forgedCluster+3584, 1) }, disk.ErrCorrupt},
		"compressed is no compressed": {func(q *forged) { q.l2[0] = packed(3*forgedCluster, 0) }, disk.ErrCorrupt},
		"compressed is too short": {func(q *forged) {
			q.l2[0] = packed(3*forgedCluster, 0)
			copy(q.data, deflated([]byte("too short for a cluster")))
		}, disk.ErrCorrupt},
		"compressed as zstd but is not": {func(q *forged) {
			q.incompatible, q.compression = 1<<3, 1
			q.l2[0] = packed(3*forgedCluster, 0)
			copy(q.data, deflated(make([]byte, forgedCluster)))
		}, disk.ErrCorrupt},
	})
}

func TestIsQcow2(t *testing.T) {
	for _, no := range []string{"", "Q", "QFI", "QFI\xfa", "\x00QFI\xfb"} {
		if disk.IsQcow2([]byte(no)) {
			t.Errorf("%q is taken for qcow2", no)
		}
	}
	if !disk.IsQcow2(valid().bytes()[:disk.PrefixLen]) {
		t.Error("a qcow2 image is not recognised")
	}
	if _, err := convertBytes(t, []byte("raw disk"), 0); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("a raw disk is converted: %v", err)
	}
}

func FuzzConvertQcow2(f *testing.F) {
	f.Add(valid().bytes())
	q := valid()
	q.version, q.l2[1] = 2, 0
	f.Add(q.bytes())
	q = valid()
	q.l2[0] = packed(3*forgedCluster+100, 0)
	copy(q.data[100:], deflated(make([]byte, forgedCluster)))
	f.Add(q.bytes())
	q.incompatible, q.compression = 1<<3, 1
	f.Add(q.bytes())
	const sizeMax = 1 << 20
	f.Fuzz(func(t *testing.T, image []byte) {
		got, err := convertBytes(t, image, sizeMax)
		if err != nil {
			return
		}
		if size := binary.BigEndian.Uint64(image[24:]); uint64(len(got)) != size || size > sizeMax {
			t.Errorf("a disk of %d bytes became %d", size, len(got))
		}
	})
}

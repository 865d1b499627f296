package pax

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// entry is a header with its payload, holes filled.
type entry struct {
	Header  Header
	Content []byte
}

// readAll reads an archive with this package's reader.
func readAll(r io.Reader, limits Limits) (entries []entry, err error) {
	reader := NewReader(r, limits)
	for {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries, reader.Drain()
		}
		if err != nil {
			return entries, err
		}
		e := entry{Header: *h}
		e.Header.Xattrs = nil
		for _, x := range h.Xattrs {
			e.Header.Xattrs = append(e.Header.Xattrs, Xattr{x.Name, bytes.Clone(x.Value)})
		}
		if h.Size < 4<<20 && h.Type == TypeRegular {
			e.Content = make([]byte, h.Size)
		}
		for {
			data, offset, err := reader.Chunk()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return entries, err
			}
			if e.Content != nil {
				copy(e.Content[offset:], data)
			}
		}
		entries = append(entries, e)
	}
}

func write(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		content := e.Content
		if e.Header.Sparse != nil {
			content = nil
			for _, f := range e.Header.Sparse {
				content = append(content, e.Content[f.Offset:f.Offset+f.Length]...)
			}
		}
		for len(content) > 0 {
			space, err := w.Space()
			if err != nil {
				t.Fatal(err)
			}
			n := copy(space, content)
			w.Advance(n)
			content = content[n:]
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func sample() []entry {
	at := time.Unix(1700000000, 0)
	regular := func(name string, size int) entry {
		return entry{
			Header{Name: name, Type: TypeRegular, Mode: 0o4755, UID: 1, GID: 2, Size: int64(size), ModTime: at},
			bytes.Repeat([]byte{'r'}, size),
		}
	}
	plain := func(h Header) entry { h.ModTime = at; return entry{Header: h} }
	sparse := regular("dir/sparse", 8192+100)
	sparse.Header.Sparse = []Fragment{{512, 1024}, {4096, 512}}
	clear(sparse.Content[:512])
	clear(sparse.Content[1536:4096])
	clear(sparse.Content[4608:])
	hole := regular("hole", 4096)
	hole.Header.Sparse = []Fragment{}
	clear(hole.Content)
	attributes := regular("attributes", 3)
	attributes.Header.Xattrs = []Xattr{{"user.a=b%c", []byte("x\x00\n")}, {"user.empty", []byte{}}}
	attributes.Header.AccessACL, attributes.Header.DefaultACL = "user::rwx", "other::r--"
	attributes.Header.Flags = "nodump"
	early := regular("early", 0)
	early.Header.ModTime = time.Unix(-5, 1)
	big := regular("big-ids", 0)
	big.Header.UID, big.Header.GID = 1<<32-2, 3_000_000
	return []entry{
		plain(Header{Name: "dir/", Type: TypeDirectory, Mode: 0o1777}),
		regular("dir/file", 0), regular("dir/one", 1), regular("dir/block", 512), regular("large", bufferSize+1),
		plain(Header{Name: "link", Type: TypeSymlink, Linkname: strings.Repeat("l", 300)}),
		plain(Header{Name: "hard", Type: TypeHardlink, Linkname: "dir/file"}),
		plain(Header{Name: "null", Type: TypeChar, Major: 1, Minor: 3}),
		plain(Header{Name: "sda", Type: TypeBlock, Major: 4095, Minor: 1<<20 - 1}),
		plain(Header{Name: "fifo", Type: TypeFIFO}),
		regular(strings.Repeat("p", 150)+"/"+strings.Repeat("q", 100), 2),
		regular(strings.Repeat("long/", 80)+"name", 2), regular("ünï", 2), regular("latin1-\xe9", 2),
		sparse, hole, attributes, early, big,
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	archive := write(t, want)
	for name, r := range map[string]io.Reader{
		"whole":        bytes.NewReader(archive),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(archive)),
		"with EOF":     iotest.DataErrReader(bytes.NewReader(archive)),
	} {
		got, err := readAll(r, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range got {
			if got[i].Header.Type != TypeRegular {
				got[i].Content = nil
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestStandardLibraryReads checks what is written against archive/tar.
func TestStandardLibraryReads(t *testing.T) {
	archive := write(t, sample())
	compareWithStandardLibrary(t, archive, true)
}

// TestFormatsOfTheStandardLibrary reads what archive/tar writes in each of its formats.
func TestFormatsOfTheStandardLibrary(t *testing.T) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range []tar.Header{
			{Name: "a", Size: 3, Typeflag: tar.TypeReg, Uid: 5, Gid: 6, Mode: 0o640, ModTime: time.Unix(99, 0)},
			{Name: strings.Repeat("p", 120) + "/" + strings.Repeat("n", 90), Size: 3, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)},
			{Name: "l", Linkname: "a", Typeflag: tar.TypeLink, ModTime: time.Unix(0, 0)},
			{Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, ModTime: time.Unix(0, 0)},
			{Name: "d/", Typeflag: tar.TypeDir, ModTime: time.Unix(0, 0)},
		} {
			if format == tar.FormatGNU {
				h.Uid, h.ModTime = 1<<31, time.Unix(-1, 0)
				h.Name += strings.Repeat("g", 200)
				if h.Typeflag == tar.TypeDir {
					h.Name += "/"
				}
			}
			h.Format = format
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("abc")[:h.Size]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		compareWithStandardLibrary(t, buf.Bytes(), true)
	}
}

// compareWithStandardLibrary reads an archive with both readers. Where both take it, or must, the entries are the same.
func compareWithStandardLibrary(t *testing.T, archive []byte, must bool) {
	t.Helper()
	got, err := readAll(bytes.NewReader(archive), Limits{Bytes: 64 << 20})
	if err != nil && must {
		t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(archive))
	for i := 0; ; i++ {
		h, stdErr := r.Next()
		if stdErr != nil && (!must || errors.Is(stdErr, io.EOF)) {
			break
		}
		if stdErr != nil {
			t.Fatal(stdErr)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			return // archive/tar does not apply them
		}
		if i == len(got) {
			if err == nil {
				t.Fatalf("entry %q is missing", h.Name)
			}
			return
		}
		if !must && (h.Typeflag == 'D' || h.Typeflag == 'V' || h.Typeflag == 'X' || h.Size > 4<<20) {
			return // kinds that are treated differently on purpose
		}
		g := got[i]
		content, readErr := io.ReadAll(r)
		if readErr != nil {
			return
		}
		compareEntry(t, g, h, content)
	}
}

func compareEntry(t *testing.T, g entry, h *tar.Header, content []byte) {
	t.Helper()
	if g.Header.Name != h.Name || g.Header.Linkname != h.Linkname || g.Header.UID != int64(h.Uid) ||
		g.Header.GID != int64(h.Gid) || g.Header.Mode != uint32(h.Mode&0o7777) || !g.Header.ModTime.Equal(h.ModTime) {
		t.Errorf("got %+v, archive/tar has %+v", g.Header, h)
	}
	if g.Header.Type == TypeRegular && !bytes.Equal(g.Content, content) {
		t.Errorf("%q: %d bytes of content differ from %d", h.Name, len(g.Content), len(content))
	}
	for _, x := range g.Header.Xattrs {
		value, ok := h.PAXRecords[schilyXattr+keyEscapes.Replace(x.Name)]
		if ok && value != string(x.Value) {
			t.Errorf("%q: attribute %q is %q, archive/tar has %q", h.Name, x.Name, x.Value, value)
		}
	}
}

// FuzzReader reads anything, and compares with archive/tar where both can.
func FuzzReader(f *testing.F) {
	for _, e := range sample() {
		if e.Header.Size < bufferSize {
			f.Add(write(f, []entry{e}))
		}
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0}, 1024))
	f.Fuzz(func(t *testing.T, archive []byte) {
		compareWithStandardLibrary(t, archive, false)
		repaired := bytes.Clone(archive)
		for b := repaired; len(b) >= BlockSize; b = b[BlockSize:] {
			if h := (*block)(b); h.isUSTAR() || h.isGNU() {
				h.seal() // nothing else would get past the checksums
			}
		}
		compareWithStandardLibrary(t, repaired, false)
	})
}

func TestNumbers(t *testing.T) {
	for field, want := range map[string]int64{
		"0000644\x00": 0o644, " 644 \x00\x00\x00": 0o644, "\x00\x00\x00": 0, "77777777": 0o77777777,
		"\x80\x00\x00\x01": 1, "\xff\xff\xff\xff": -1, "\x80\x7f\xff\xff\xff\xff\xff\xff\xff": math.MaxInt64,
	} {
		if got, err := number([]byte(field)); err != nil || got != want {
			t.Errorf("%q: %d, %v", field, got, err)
		}
	}
	for _, field := range []string{"8", "1 2", "-1", "7777777777777777777777", "\x80\x80\x00\x00\x00\x00\x00\x00\x00"} {
		if got, err := number([]byte(field)); err == nil {
			t.Errorf("%q is %d", field, got)
		}
	}
}

func TestWriterKeepsCount(t *testing.T) {
	w := NewWriter(io.Discard)
	h := &Header{Name: "x", Type: TypeRegular, Size: 5, ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	w.Advance(3)
	if err := w.WriteHeader(h); err == nil {
		t.Error("header after a short payload")
	}
	if err := w.Close(); err == nil {
		t.Error("end after a short payload")
	}
	h.Sparse = []Fragment{{512, 512}, {0, 512}}
	if err := NewWriter(io.Discard).WriteHeader(h); err == nil {
		t.Error("sparse map out of order")
	}
}

func TestGlobalRecordsApplyToWhatFollows(t *testing.T) {
	records := appendRecord(nil, "mtime", "77.5")
	var g block
	g.fillPlain("global", 'g', int64(len(records)))
	archive := append(append(g[:], records...), make([]byte, -len(records)&511)...)
	early := sample()[:2]
	early[1].Header.ModTime = time.Unix(5, 5) // has a record of its own
	got, err := readAll(bytes.NewReader(append(archive, write(t, early)...)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Header.ModTime.Equal(time.Unix(77, 5e8)) || !got[1].Header.ModTime.Equal(time.Unix(5, 5)) {
		t.Errorf("times %v and %v", got[0].Header.ModTime, got[1].Header.ModTime)
	}
}

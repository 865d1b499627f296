package cpio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer/tarball/cpio"
	"berth/transfer/tarball/pax"

	"github.com/google/go-cmp/cmp"
)

// entry is one that tests write.
type entry struct {
	name       string
	mode       uint32
	ino, nlink uint32
	uid        uint32
	content    string
	sum        uint32 // added to the right checksum
}

const (
	regular   = 0o100644
	symlink   = 0o120777
	directory = 0o040755
	fifo      = 0o010600
)

func pad4(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }

// newc is an entry in the form of the magic, 070701 or 070702.
func newc(magic string, e entry) string {
	sum := e.sum
	if magic == "070702" && e.mode&0o170000 == 0o100000 {
		for i := range len(e.content) {
			sum += uint32(e.content[i])
		}
	}
	h := magic
	for _, n := range []uint32{
		e.ino, e.mode, e.uid, 0, e.nlink, 1500000000, uint32(len(e.content)), 8, 1, 7, 3, uint32(len(e.name) + 1), sum,
	} {
		h += fmt.Sprintf("%08X", n)
	}
	return pad4(h+e.name+"\x00") + pad4(e.content)
}

func odc(e entry) string {
	return fmt.Sprintf("070707%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s",
		8, e.ino, e.mode, e.uid, 0, e.nlink, 0o3403, 1500000000, len(e.name)+1, len(e.content), e.name, e.content)
}

func newcArchive(entries ...entry) string { return sealed("070701", entries) }

func crcArchive(entries ...entry) string { return sealed("070702", entries) }

func sealed(magic string, entries []entry) string {
	var b strings.Builder
	for _, e := range append(entries, entry{name: "TRAILER!!!", nlink: 1}) {
		b.WriteString(newc(magic, e))
	}
	return b.String()
}

func odcArchive(entries ...entry) string {
	var b strings.Builder
	for _, e := range append(entries, entry{name: "TRAILER!!!", nlink: 1}) {
		b.WriteString(odc(e))
	}
	return b.String()
}

// list reads an archive and says what is in it, a line for each entry.
func list(src io.Reader, limits pax.Limits) (lines []string, err error) {
	r := cpio.NewReader(src, limits)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, r.Drain()
		}
		if err != nil {
			return lines, err
		}
		var content []byte
		for {
			data, offset, err := r.Chunk()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return lines, err
			}
			if offset != int64(len(content)) {
				return lines, fmt.Errorf("chunk at %d after %d bytes", offset, len(content))
			}
			content = append(content, data...)
		}
		if h.Type == pax.TypeRegular && h.Size != int64(len(content)) {
			return lines, fmt.Errorf("%d bytes of a file of %d", len(content), h.Size)
		}
		lines = append(lines, fmt.Sprintf("%c %s %s %q", h.Type, h.Name, h.Linkname, content))
	}
}

// check lists an archive that comes in one piece and in many.
func check(t *testing.T, archive string, want ...string) {
	t.Helper()
	for _, src := range []io.Reader{
		strings.NewReader(archive), iotest.OneByteReader(strings.NewReader(archive)), iotest.DataErrReader(strings.NewReader(archive)),
	} {
		got, err := list(src, pax.Limits{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestHeaderFields(t *testing.T) {
	e := entry{name: "dir/x", mode: 0o021750, ino: 9, nlink: 1, uid: 1234}
	for form, archive := range map[string]string{"newc": newcArchive(e), "odc": odcArchive(e)} {
		r := cpio.NewReader(strings.NewReader(archive), pax.Limits{})
		h, err := r.Next()
		if err != nil {
			t.Fatal(form, err)
		}
		if h.Name != "dir/x" || h.Type != pax.TypeChar || h.Mode != 0o1750 || h.UID != 1234 || h.GID != 0 ||
			h.ModTime.Unix() != 1500000000 || h.Major != 7 || h.Minor != 3 || h.Size != 0 {
			t.Errorf("%s: %+v", form, h)
		}
	}
}

// TestLinks: names with the same number are one file, wherever its content comes.
func TestLinks(t *testing.T) {
	name := func(name, content string) entry {
		return entry{name: name, mode: regular, ino: 5, nlink: 3, content: content}
	}
	other := entry{name: "other", mode: regular, ino: 6, nlink: 1, content: "o"}
	for test, c := range map[string]struct {
		archive string
		want    []string
	}{
		"content last":    {newcArchive(name("a", ""), other, name("b", ""), name("c", "x")), []string{`0 other  "o"`, `0 c  "x"`, `1 a c ""`, `1 b c ""`}},
		"content first":   {newcArchive(name("a", "x"), name("b", ""), name("c", "")), []string{`0 a  "x"`, `1 b a ""`, `1 c a ""`}},
		"content between": {newcArchive(name("a", ""), name("b", "x"), name("c", "")), []string{`0 b  "x"`, `1 a b ""`, `1 c b ""`}},
		"content always":  {crcArchive(name("a", "x"), name("b", "x"), name("c", "x"), other), []string{`0 a  "x"`, `1 b a ""`, `1 c a ""`, `0 other  "o"`}},
		"no content":      {newcArchive(name("a", ""), name("b", ""), name("c", ""), other), []string{`0 a  ""`, `1 b a ""`, `1 c a ""`, `0 other  "o"`}},
		"a name missing":  {newcArchive(name("a", ""), name("b", ""), other), []string{`0 other  "o"`, `0 a  ""`, `1 b a ""`}},
		"odc":             {odcArchive(name("a", "x"), name("b", "x"), name("c", "x")), []string{`0 a  "x"`, `1 b a ""`, `1 c a ""`}},
		"odc, empty":      {odcArchive(name("a", ""), name("b", ""), name("c", ""), other), []string{`0 a  ""`, `1 b a ""`, `1 c a ""`, `0 other  "o"`}},
		"odc, cut number": {odcArchive(name("a", "x"), name("b", "yy"), name("c", "yy")), []string{`0 a  "x"`, `0 b  "yy"`, `1 c b ""`}},
		"two files wait": {
			newcArchive(name("a", ""), entry{name: "p", mode: regular, ino: 7, nlink: 2}, name("b", "")),
			[]string{`0 a  ""`, `1 b a ""`, `0 p  ""`},
		},
		"symbolic links": {
			newcArchive(entry{name: "l", mode: symlink, ino: 7, nlink: 2, content: "to"}, entry{name: "m", mode: symlink, ino: 7, nlink: 2, content: "to"}),
			[]string{`2 l to ""`, `1 m l ""`},
		},
		"another kind": {
			newcArchive(entry{name: "f", mode: fifo, ino: 5, nlink: 3}, name("a", "x")),
			[]string{`6 f  ""`, `0 a  "x"`},
		},
		"directories": {
			newcArchive(entry{name: "d", mode: directory, ino: 5, nlink: 3}, entry{name: "e", mode: directory, ino: 5, nlink: 3, content: "left out"}),
			[]string{`5 d  ""`, `5 e  "left out"`},
		},
	} {
		t.Run(test, func(t *testing.T) { check(t, c.archive, c.want...) })
	}
}

func TestEnd(t *testing.T) {
	file := entry{name: "a", mode: regular, ino: 5, nlink: 1, content: "x"}
	check(t, newcArchive(file)+strings.Repeat("\x00", 300), `0 a  "x"`)
	check(t, newcArchive(file)+newcArchive(entry{name: "b", mode: regular, nlink: 1}), `0 a  "x"`)
	whole := newcArchive(file)
	check(t, strings.TrimRight(whole, "\x00")+"\x00", `0 a  "x"`)
	check(t, newcArchive())
	// Some writers fill up names, so that the content begins at a block.
	check(t, newcArchive(entry{name: "a\x00\x00\x00\x00\x00", mode: regular, nlink: 1, content: "x"}), `0 a  "x"`)
}

func TestTruncated(t *testing.T) {
	for _, archive := range []string{
		newcArchive(entry{name: "a", mode: regular, nlink: 1, content: "content"}, entry{name: "l", mode: symlink, nlink: 1, content: "to"}),
		odcArchive(entry{name: "a", mode: regular, nlink: 1, content: "content"}, entry{name: "l", mode: symlink, nlink: 1, content: "to"}),
	} {
		for cut := range len(strings.TrimRight(archive, "\x00")) + 1 {
			if _, err := list(strings.NewReader(archive[:cut]), pax.Limits{}); !errors.Is(err, pax.ErrTruncated) {
				t.Errorf("cut at %d of %d: %v", cut, len(archive), err)
			}
		}
	}
}

func TestChecksum(t *testing.T) {
	file := entry{name: "a", mode: regular, nlink: 1, content: strings.Repeat("\xff", 600_000)}
	check(t, crcArchive(file), fmt.Sprintf("0 a  %q", file.content))
	file.sum = 1
	if _, err := list(strings.NewReader(crcArchive(file)), pax.Limits{}); !errors.Is(err, pax.ErrFormat) {
		t.Errorf("wrong checksum: %v", err)
	}
	check(t, newcArchive(file), fmt.Sprintf("0 a  %q", file.content)) // has none
	// It counts as well for content that nobody asks for.
	r := cpio.NewReader(strings.NewReader(crcArchive(file)), pax.Limits{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, pax.ErrFormat) {
		t.Errorf("wrong checksum of what is passed over: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	good := newcArchive(entry{name: "a", mode: regular, ino: 5, nlink: 1, content: "x"})
	patched := func(at int, with string) string { return good[:at] + with + good[at+len(with):] }
	for name, test := range map[string]struct {
		archive string
		limits  pax.Limits
		want    error
	}{
		"no digits":          {patched(6, "0000000g"), pax.Limits{}, pax.ErrFormat},
		"sign":               {patched(54, "+0000001"), pax.Limits{}, pax.ErrFormat},
		"no name":            {patched(94, "00000000"), pax.Limits{}, pax.ErrFormat},
		"name has no end":    {patched(94, "00000001"), pax.Limits{}, pax.ErrFormat},
		"giant name":         {patched(94, "FFFFFFFF"), pax.Limits{}, pax.ErrLimit},
		"giant file":         {patched(54, "FFFFFFFF"), pax.Limits{Bytes: 1 << 30}, pax.ErrLimit},
		"unknown kind":       {patched(14, "0000F000"), pax.Limits{}, pax.ErrFormat},
		"other form":         {newc("070701", entry{name: "a", mode: regular, nlink: 1}) + odcArchive(), pax.Limits{}, pax.ErrFormat},
		"garbage between":    {newc("070701", entry{name: "a", mode: regular, nlink: 1}) + "\x00" + newcArchive(), pax.Limits{}, pax.ErrFormat},
		"not cpio":           {strings.Repeat("x", 600), pax.Limits{}, pax.ErrFormat},
		"too many entries":   {good, pax.Limits{Entries: 1}, pax.ErrLimit},
		"too long":           {good, pax.Limits{Bytes: int64(len(good)) - 1}, pax.ErrLimit},
		"too long, behind":   {good + strings.Repeat("\x00", 600_000), pax.Limits{Bytes: 1000}, pax.ErrLimit},
		"long symbolic link": {newcArchive(entry{name: "l", mode: symlink, nlink: 1, content: strings.Repeat("x", 1001)}), pax.Limits{Records: 1000}, pax.ErrLimit},
		"others' number": {
			newcArchive(entry{name: "a", mode: regular, ino: 5, nlink: 2}, entry{name: "b", mode: regular, ino: 5, nlink: 2, uid: 1, content: "x"}),
			pax.Limits{},
			pax.ErrFormat,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := list(strings.NewReader(test.archive), test.limits); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if _, err := list(strings.NewReader(good), pax.Limits{Bytes: int64(len(good)), Entries: 2}); err != nil {
		t.Errorf("archive that just fits: %v", err)
	}
}

// TestLinkMemory: names that wait are bounded, names of complete files are forgotten.
func TestLinkMemory(t *testing.T) {
	long := strings.Repeat("n", 4000)
	archive := func(nlink uint32) io.Reader {
		var parts []io.Reader
		for i := range uint32(6000) {
			parts = append(parts, strings.NewReader(newc("070701", entry{
				name: fmt.Sprint(i, long), mode: regular, ino: i / 2, nlink: nlink,
			})))
		}
		return io.MultiReader(append(parts, strings.NewReader(newcArchive()))...)
	}
	if _, err := list(archive(3), pax.Limits{}); !errors.Is(err, pax.ErrLimit) {
		t.Errorf("names without end: %v", err)
	}
	if lines, err := list(archive(2), pax.Limits{}); err != nil || len(lines) != 6000 {
		t.Errorf("complete files: %d, %v", len(lines), err)
	}
}

func TestSourceErrorIsKept(t *testing.T) {
	cause := errors.New("checksum of the stream is wrong")
	archive := newcArchive(entry{name: "a", mode: regular, nlink: 1, content: strings.Repeat("x", 500)})
	for _, at := range []int{0, 50, 113, 300, len(archive)} {
		_, err := list(io.MultiReader(strings.NewReader(archive[:at]), iotest.ErrReader(cause)), pax.Limits{})
		if !errors.Is(err, cause) || errors.Is(err, pax.ErrTruncated) {
			t.Errorf("failure at %d: got %v", at, err)
		}
	}
}

// FuzzReader checks that every archive ends, within its limits.
func FuzzReader(f *testing.F) {
	files := []entry{
		{name: "a", mode: regular, ino: 5, nlink: 2},
		{name: "l", mode: symlink, ino: 6, nlink: 1, content: "to"},
		{name: "b", mode: regular, ino: 5, nlink: 2, content: "x"},
	}
	f.Add([]byte(newcArchive(files...)))
	f.Add([]byte(crcArchive(files...)))
	f.Add([]byte(odcArchive(files...)))
	f.Add([]byte("\xc7\x71\x01\x00\x05\x00\xa4\x81\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01\x00a\x00x\x00"))
	f.Add([]byte("\x71\xc7\x00\x01\x00\x05\x81\xa4\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01a\x00x\x00"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		limits := pax.Limits{Bytes: 1 << 16, Entries: 100, Records: 1000}
		lines, err := list(bytes.NewReader(archive), limits)
		if len(lines) > 100 {
			t.Errorf("%d entries", len(lines))
		}
		for _, known := range []error{nil, pax.ErrFormat, pax.ErrTruncated, pax.ErrLimit} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("error of no kind: %v", err)
	})
}

package tarball

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// capNetBind is security.capability with CAP_NET_BIND_SERVICE permitted and effective, revision 2.
var capNetBind = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("owners, device nodes and trusted attributes need root")
	}
}

func requireTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

// builder makes a tree of everything that an operating system's tree may hold.
type builder struct {
	t    testing.TB
	root string
}

func (b builder) path(name string) string { return filepath.Join(b.root, name) }

func (b builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b builder) file(name string, size int) {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	random := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(len(name))})
	data := make([]byte, size)
	_, _ = random.Read(data) // never fails
	b.must(os.WriteFile(b.path(name), data, 0o644))
}

func (b builder) sparse(name string, size int64, data ...int64) {
	b.t.Helper()
	f, err := os.Create(b.path(name))
	b.must(err)
	b.must(f.Truncate(size))
	for _, offset := range data {
		_, err := f.WriteAt(bytes.Repeat([]byte{'d'}, 4096), offset)
		b.must(err)
	}
	b.must(f.Close())
}

func (b builder) xattr(name, attribute string, value []byte) {
	b.t.Helper()
	b.must(unix.Lsetxattr(b.path(name), attribute, value, 0))
}

func (b builder) acl(name, attribute, text string) {
	b.t.Helper()
	value, dropped, err := parseACL(text, 0o640)
	b.must(err)
	if dropped != 0 {
		b.t.Fatalf("ACL %q has names", text)
	}
	b.xattr(name, attribute, value)
}

func (b builder) touch(name string, sec, nsec int64) {
	b.t.Helper()
	times := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
	b.must(unix.UtimesNanoAt(unix.AT_FDCWD, b.path(name), times, unix.AT_SYMLINK_NOFOLLOW))
}

func (b builder) flags(name string, bits uint32) {
	b.t.Helper()
	f, err := os.Open(b.path(name))
	b.must(err)
	defer f.Close()
	b.must(addFlags(int(f.Fd()), bits))
}

// makeTree fills root, which has to be on a file system with everything. FIFOs are left out; see makeFIFO.
func makeTree(t testing.TB, root string) {
	t.Helper()
	b := builder{t, root}
	b.contents()
	b.links()
	b.attributes()
	b.finish()
}

func (b builder) contents() {
	for _, size := range []int{0, 1, 511, 512, 513, 4096, 3 << 20} {
		b.file("data/"+strconv.Itoa(size), size)
	}
	long := strings.Repeat("n", 255)
	b.file("deep/"+long+"/"+long+"/file", 10)
	b.file("prefix/"+strings.Repeat("p", 90)+"/"+strings.Repeat("q", 60), 3)
	b.file("names/ünï-ćødé-名前", 4)
	b.file("names/new\nline", 4)
	b.file("names/back\\slash and space", 4)
	b.file("names/-dash", 4)
	b.must(os.Mkdir(b.path("empty"), 0o755))
	b.must(os.Mkdir(b.path("sparse"), 0o755))
	b.sparse("sparse/all-hole", 1<<20)
	b.sparse("sparse/front", 1<<20, 1<<20-4096)
	b.sparse("sparse/back", 1<<20, 0)
	b.sparse("sparse/middle", 1<<20+100, 64<<10, 256<<10)
	b.sparse("sparse/odd-end", 64<<10+7, 32<<10, 60<<10)
	b.sparse("sparse/huge", 1<<40, 1<<39)
	b.sparse("sparse/"+strings.Repeat("s", 200), 1<<20, 512<<10)
	var offsets []int64
	for i := range int64(100) {
		offsets = append(offsets, i*(64<<10))
	}
	b.sparse("sparse/many", 100*(64<<10), offsets...)
}

func (b builder) links() {
	b.must(os.Mkdir(b.path("links"), 0o755))
	b.must(os.Symlink("/etc/passwd", b.path("links/absolute")))
	b.must(os.Symlink("../../../..", b.path("links/up")))
	b.must(os.Symlink("no/such/file", b.path("links/dangling")))
	b.must(os.Symlink(strings.Repeat("x/", 150), b.path("links/long")))
	b.must(os.Symlink("ünï", b.path("links/utf8")))
	b.must(os.Link(b.path("data/513"), b.path("links/hard")))
	b.must(os.Link(b.path("data/513"), b.path("zlast")))
	b.must(os.Link(b.path("links/dangling"), b.path("links/hard-to-symlink")))
	b.must(os.Link(b.path("deep/"+strings.Repeat("n", 255)+"/"+strings.Repeat("n", 255)+"/file"), b.path("links/hard-deep")))
	b.must(os.Mkdir(b.path("dev"), 0o755))
	b.must(unix.Mknod(b.path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	b.must(unix.Mknod(b.path("dev/loop0"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 0))))
	b.must(unix.Mknod(b.path("dev/large"), unix.S_IFCHR|0o600, int(unix.Mkdev(4095, 1<<20-1))))
	b.must(os.Link(b.path("dev/null"), b.path("dev/null2")))
	b.must(os.Chmod(b.path("dev/null"), 0o666))
}

func (b builder) attributes() {
	b.file("mode/setuid", 5)
	b.file("mode/setgid", 5)
	b.file("mode/none", 5)
	b.file("mode/owned", 5)
	b.file("mode/big-ids", 5)
	b.must(os.Lchown(b.path("mode/setuid"), 1000, 2000))
	b.must(os.Lchown(b.path("mode/big-ids"), 3_000_000, 4294967294))
	b.must(os.Lchown(b.path("links/dangling"), 1, 2))
	b.must(unix.Chmod(b.path("mode/setuid"), 0o4755))
	b.must(unix.Chmod(b.path("mode/setgid"), 0o2711))
	b.must(unix.Chmod(b.path("mode/none"), 0))
	b.must(os.Mkdir(b.path("mode/tmp"), 0o755))
	b.must(unix.Chmod(b.path("mode/tmp"), 0o1777))
	b.file("mode/locked/inside", 5)
	b.must(unix.Chmod(b.path("mode/locked"), 0o2500))

	b.file("xattr/file", 5)
	b.xattr("xattr/file", "user.text", []byte("value"))
	b.xattr("xattr/file", "user.empty", nil)
	b.xattr("xattr/file", "user.binary", []byte("a\x00b\nc=d\xff"))
	b.xattr("xattr/file", "trusted.secret", []byte("t"))
	b.xattr("xattr", "user.on-dir", []byte("dir"))
	b.file("xattr/capable", 5)
	b.must(os.Lchown(b.path("xattr/capable"), 7, 7))
	b.xattr("xattr/capable", "security.capability", capNetBind)
	b.xattr("links/up", "trusted.on-link", []byte("l"))
	b.xattr("dev/loop0", "trusted.on-node", []byte("n"))

	b.file("acl/file", 5)
	b.acl("acl/file", aclAccess, "user::rw-,user:61000:r--,user:61012:rwx,group::r--,group:61077:rw-,mask::rwx,other::---")
	b.acl("acl", aclAccess, "user::rwx,group::r-x,group:61005:rwx,mask::rwx,other::r-x")
	b.acl("acl", aclDefault, "user::rwx,user:61033:rwx,group::r-x,mask::rwx,other::---")
	b.must(os.Mkdir(b.path("acl/sub"), 0o750))
	b.must(unix.Lremovexattr(b.path("acl/sub"), aclAccess))
	b.must(unix.Lremovexattr(b.path("acl/sub"), aclDefault))
}

func (b builder) finish() {
	b.file("flags/file", 5)
	b.flags("flags/file", flagNoDump|flagNoAtime)
	b.flags("flags", flagNoDump)
	b.file("time/nano", 1)
	b.touch("time/nano", 1700000000, 123456789)
	b.file("time/tenth", 1)
	b.touch("time/tenth", 1700000000, 100000000)
	b.file("time/before-epoch", 1)
	b.touch("time/before-epoch", -100, 250000000)
	b.file("time/far", 1)
	b.touch("time/far", 9_000_000_000, 0)
	b.touch("links/up", 1234567, 89)
	b.touch("dev/null", 1234567, 891)
	for _, dir := range []string{"deep", "data", "mode/locked", "acl/sub", "acl", "links", "dev", "."} {
		b.touch(dir, 1500000000, 987654321)
	}
}

func (b builder) fifo(name string) {
	b.t.Helper()
	b.must(unix.Mkfifo(b.path(name), 0o620))
	b.must(os.Lchown(b.path(name), 3, 4))
	b.touch(name, 1400000000, 5)
}

// run runs a program and returns its output.
func run(t testing.TB, dir string, argv ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, stderr.Bytes())
	}
	return out
}

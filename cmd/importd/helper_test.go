package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/faultserver"
	"berth/fixtures/keys"
	"berth/fixtures/ownhost"

	"github.com/klauspost/compress/gzip"
)

// bench is a directory with a server and a keyring for one test of the helpers.
type bench struct {
	t      *testing.T
	dir    string
	server *faultserver.Server
	key    *keys.Key
	// environment is added to that of the helpers.
	environment []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if !ownhost.Inside() {
		t.Skip("NOT TESTED: needs root: a host of its own")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-helper-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, dir: dir, server: faultserver.Start(t)}
	b.environment = []string{"GORACE=atexit_sleep_ms=0"}
	return b
}

// signs makes a key whose signatures count.
func (b *bench) signs() {
	b.t.Helper()
	b.key = keys.New(b.t, "signer")
	ring := b.path("ring.pgp")
	keys.WriteKeyring(b.t, ring, b.key)
	b.environment = append(b.environment, "SYSTEMD_OPENPGP_KEYRING="+ring)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// serve offers content at a path and returns its URL.
func (b *bench) serve(name string, content []byte) string {
	b.server.Set("/"+name, faultserver.Answer{Body: content, Ranges: faultserver.RangesOn, ETag: `"1"`})
	return b.server.URL("/" + name)
}

// write makes a file and returns its path.
func (b *bench) write(name string, content []byte) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), content, 0o644); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b *bench) read(path string) []byte {
	b.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		b.t.Error(err)
	}
	return content
}

// absent fails if something is at a path.
func (b *bench) absent(path string) {
	b.t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		b.t.Errorf("%s is there: %v", path, err)
	}
}

// command is a helper that was not started yet.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.t.Context(), "/proc/self/exe")
	cmd.Args = append([]string{name}, args...)
	cmd.Env = append(os.Environ(), b.environment...)
	cmd.Dir = b.dir
	return cmd
}

// run runs a helper and returns its standard output.
func (b *bench) run(stdin io.Reader, name string, args ...string) ([]byte, error) {
	cmd := b.command(name, args...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &said
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%w: %s", err, said.String())
	}
	return out.Bytes(), nil
}

// must runs a helper that has to succeed.
func (b *bench) must(name string, args ...string) []byte {
	b.t.Helper()
	out, err := b.run(nil, name, args...)
	if err != nil {
		b.t.Errorf("%s %q: %v", name, args, err)
	}
	return out
}

// refused runs a helper that has to fail with status 1 and the given words.
func (b *bench) refused(words, name string, args ...string) {
	b.t.Helper()
	_, err := b.run(nil, name, args...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(err.Error(), words) {
		b.t.Errorf("%s %q: %v, want status 1 and %q", name, args, err, words)
	}
}

func noise(n int) []byte {
	content := make([]byte, n)
	_, _ = rand.Read(content)
	return content
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// archive packs a tree with an os-release below one directory.
func (b *bench) archive() []byte {
	b.t.Helper()
	if err := os.MkdirAll(b.path("os-1/usr/lib"), 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.write("os-1/usr/lib/os-release", []byte("ID=test\n"))
	out, err := exec.CommandContext(b.t.Context(), "tar", "-C", b.dir, "-cz", "os-1").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

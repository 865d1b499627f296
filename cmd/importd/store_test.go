package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"berth/fixtures/keys"
)

const pool = "/var/lib/machines"

func TestPullIntoTheStore(t *testing.T) {
	b := newBench(t)
	b.signs()
	disk := noise(100 << 10)
	from := b.serve("d.raw", disk)
	hash := []byte("c0ffee\n")
	b.serve("d.roothash", hash)
	settings := []byte("[Exec]\n")
	b.serve("d.nspawn", settings)
	list := []byte(digest(disk) + "  d.raw\n" + digest(hash) + "  d.roothash\n" + digest(settings) + "  d.nspawn\n")
	b.serve("SHA256SUMS", list)
	b.serve("SHA256SUMS.gpg", b.key.Sign(t, list, keys.SignOptions{}))
	b.must("systemd-pull", "--keep-download=no", "raw", from)
	if !bytes.Equal(b.read(pool+"/d.raw"), disk) || string(b.read(pool+"/d.nspawn")) != "[Exec]\n" {
		t.Error("image or settings are others")
	}
	b.refused("exists already", "systemd-pull", "raw", from)
	root := b.path("root")
	b.must("systemd-pull", "raw", "--image-root="+root, "--settings=no", "--roothash=no", "--keep-download=no", from, "e.raw")
	names, err := os.ReadDir(root)
	if err != nil || len(names) != 1 || names[0].Name() != "e.raw" {
		t.Errorf("in the image root are %v, %v", names, err)
	}
	b.must("systemd-pull", "raw", "--class=sysext", "--settings=yes", "--verify=checksum", from, "s")
	if string(b.read("/var/lib/extensions/s.nspawn")) != "[Exec]\n" {
		t.Error("settings that were asked for are missing")
	}
	b.must("systemd-pull", "raw", "--verify=checksum", "--force", from, "-")
	kept, err := os.ReadDir(pool)
	if err != nil || !strings.HasPrefix(kept[0].Name(), ".raw-http:") {
		t.Errorf("with no name the pool has %v, %v", kept, err)
	}
	b.refused("cannot be fetched", "systemd-pull", "raw", "--verify="+digest(disk), "--verity=yes", from)
	b.must("systemd-pull", "raw", "--verity=yes", "--verify="+digest(disk), "--keep-download=no", from, "proved")
	b.absent(pool + "/proved.roothash")
}

func TestImportAndExportOfTheStore(t *testing.T) {
	b := newBench(t)
	packed := b.archive()
	if _, err := b.run(bytes.NewReader(packed), "systemd-import", "tar", "-"); err != nil {
		t.Error(err)
	}
	if string(b.read(pool+"/imported/usr/lib/os-release")) != "ID=test\n" {
		t.Error("the archive on standard input gave another image")
	}
	b.must("systemd-import", "--read-only", "--class=portable", "tar", b.write("p.tar.gz", packed))
	b.must("systemd-import-fs", "run", b.path("os-1"), "fs")
	disk := noise(10 << 10)
	b.must("systemd-import", "raw", b.write("i.img", disk))
	if got := b.must("systemd-export", "raw", "i", "-"); !bytes.Equal(got, disk) {
		t.Error("the disk came out as another")
	}
	b.must("systemd-export", "raw", "i", b.path("d.raw.gz"))
	b.must("systemd-import", "--force", "raw", b.path("d.raw.gz"), "i")
	if !bytes.Equal(b.read(pool+"/i.raw"), disk) {
		t.Error("the disk came back as another")
	}
	for _, tiny := range []string{"", "abc"} {
		b.must("systemd-import", "--force", "raw", b.write("tiny", []byte(tiny)))
		if got := string(b.read(pool + "/tiny.raw")); got != tiny {
			t.Errorf("image of %d bytes has %q", len(tiny), got)
		}
	}
	b.must("systemd-export", "--format=xz", "tar", "fs", b.path("fs"))
	b.must("systemd-import", "tar", b.path("fs"), "again")
	b.must("systemd-export", "tar", "--class=portable", "p", b.path("p.tar"))
	b.must("systemd-export", "tar", b.path("os-1"), b.path("path.tar"))
	b.refused("cannot be exported as tar", "systemd-export", "tar", "i", b.path("none"))
	b.absent(b.path("none"))
	b.refused("no such image", "systemd-export", "raw", "nobody", b.path("none"))
}

func TestImagesOfAUser(t *testing.T) {
	b := newBench(t)
	b.environment = append(b.environment, "HOME="+b.path("home"), "XDG_STATE_HOME=", "XDG_RUNTIME_DIR=")
	disk := noise(1000)
	from := b.write("u.raw", disk)
	b.must("systemd-import", "--user", "raw", from)
	b.must("systemd-pull", "--user", "--verify=no", "--class=portable", "raw", "file://"+from)
	for _, class := range []string{"machines", "portables"} {
		if !bytes.Equal(b.read(b.path("home/.local/state/"+class+"/u.raw")), disk) {
			t.Errorf("another image in %s", class)
		}
	}
	if got := b.must("systemd-export", "--user", "raw", "u"); !bytes.Equal(got, disk) {
		t.Error("the image came out as another")
	}
	// Without a scope the name is taken if the user has it.
	b.refused("exists already", "systemd-import", "raw", from)
	b.must("systemd-import", "--system", "raw", from)
}

func TestHelperUsage(t *testing.T) {
	b := newBench(t)
	for _, program := range []string{"systemd-pull", "systemd-import", "systemd-import-fs", "systemd-export"} {
		help := string(b.must(program, "--help"))
		if !strings.HasPrefix(help, program+" ") || string(b.must(program, "help")) != help {
			t.Errorf("help of %s: %s", program, help)
		}
		if version := string(b.must(program, "--version")); !strings.Contains(version, program) {
			t.Errorf("version of %s: %s", program, version)
		}
		var described struct {
			MediaType string
			Commands  []struct {
				Names   []string
				Options []struct{ Names []string }
			}
		}
		if err := json.Unmarshal(b.must(program, "--introspect-cli"), &described); err != nil || len(described.Commands) != 1 {
			t.Errorf("description of %s: %v", program, err)
			continue
		}
		for _, o := range described.Commands[0].Options {
			name := o.Names[len(o.Names)-1]
			if !strings.Contains(help, name) && name != "--introspect-cli" {
				t.Errorf("%s is not in the help of %s", name, program)
			}
		}
		b.refused("verb required", program)
		b.refused("Unknown option", program, "--nonsense")
	}
	for words, args := range map[string][]string{
		"only goes together with --direct": {"raw", "--offset=1", "file:///a", "b"},
		"--zero-fill= needs both":          {"raw", "--direct", "--zero-fill=yes", "--offset=1", "file:///a", "/b"},
		"it must be no, checksum":          {"raw", "--verify=maybe", "file:///a"},
		"it must be yes or no":             {"raw", "--sync=perhaps", "file:///a"},
		"not supported yet":                {"oci", "debian"},
		"no http, https or file URL":       {"raw", "ftp://host/a", "b"},
		"Too many arguments":               {"raw", "a", "b", "c"},
		"there is no place for images":     {"raw", "--user", "--class=sysext", "file:///a.raw"},
	} {
		b.refused(words, "systemd-pull", args...)
	}
}

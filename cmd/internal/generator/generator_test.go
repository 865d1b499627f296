package generator

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// TestUnits compares what is generated with golden files: the input is in "cmdline"
// and "credential", whose presence alone says so in "initrd"; all else is output.
func TestUnits(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]string{}
			want := &txtar.Archive{}
			for _, f := range archive.Files {
				if strings.HasPrefix(f.Name, "in/") {
					in[f.Name] = string(f.Data)
				} else {
					want.Files = append(want.Files, f)
				}
			}
			got := generate(t, in)
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return !strings.HasPrefix(f.Name, "in/") })
				archive.Files = append(archive.Files, got.Files...)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// generate runs the generator in a directory of its own and returns what it made.
func generate(t *testing.T, in map[string]string) *txtar.Archive {
	t.Helper()
	root, units := t.TempDir(), t.TempDir()
	write := func(path string, content []byte) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/cmdline", []byte(in["in/cmdline"]))
	if _, ok := in["in/initrd"]; ok {
		write("etc/initrd-release", nil)
	}
	if text, ok := in["in/origin"]; ok {
		variable := []byte{6, 0, 0, 0}
		for _, unit := range utf16.Encode([]rune(strings.TrimSpace(text) + "\x00")) {
			variable = append(variable, byte(unit), byte(unit>>8))
		}
		write(stubURL, variable)
	}
	environment := map[string]string{}
	if text, ok := in["in/credential"]; ok {
		write("credentials/import.pull", []byte(text))
		environment["CREDENTIALS_DIRECTORY"] = filepath.Join(root, "credentials")
	}
	var warnings bytes.Buffer
	g := &generation{host: host{root, func(name string) string { return environment[name] }}, warnings: &warnings}
	if err := g.run(t.Context(), units); err != nil {
		g.warn("%v", err)
	}
	out := &txtar.Archive{Files: made(t, units)}
	if warnings.Len() > 0 {
		out.Files = append(out.Files, txtar.File{Name: "warnings", Data: warnings.Bytes()})
	}
	return out
}

func made(t *testing.T, dir string) (files []txtar.File) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if entry.Type() == fs.ModeSymlink {
			var target string
			target, err = os.Readlink(path)
			content = []byte("-> " + target + "\n")
		}
		files = append(files, txtar.File{Name: name, Data: content})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCommandLineOfAContainer(t *testing.T) {
	root := t.TempDir()
	for path, content := range map[string]string{
		"run/systemd/container": "systemd-nspawn\n", "proc/1/cmdline": "/sbin/init\x00a b\x00c\x00", "proc/cmdline": "x",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	environment := map[string]string{}
	h := host{root, func(name string) string { return environment[name] }}
	if got, err := h.commandLine(); err != nil || !slices.Equal(got, []string{"a b", "c"}) {
		t.Errorf("%q, %v", got, err)
	}
	environment["SYSTEMD_PROC_CMDLINE"] = `one "two three" fo'u r'`
	if got, err := h.commandLine(); err != nil || !slices.Equal(got, []string{"one", "two three", "fou r"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMainWantsThreeDirectories(t *testing.T) {
	if status := Main([]string{t.TempDir()}); status != 1 {
		t.Errorf("status %d", status)
	}
}

func TestEscapedPaths(t *testing.T) {
	for path, want := range map[string]string{
		"/var/lib/machines/a.raw": "var-lib-machines-a.raw",
		"/.hidden/-/ü":            `\x2ehidden-\x2d-\xc3\xbc`,
	} {
		if got := escapePath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if _, err := unitName("systemd-import", "/"+strings.Repeat("x", 250)); err == nil {
		t.Error("a name that is too long was taken")
	}
}

// FuzzExpression: whatever is asked for, a unit has one line for each setting.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"raw,confext::https://example.com/a.raw.gz", "tar,machine,ro,verify=no,runtime=1:a:file:///a'b%c", "oci::x", ",::", "raw,machine:\n:http://h/a\nb",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := host{t.TempDir(), func(string) string { return "" }}
		d, err := parse(text, h, func(string, ...any) {})
		if err != nil {
			return
		}
		unit, err := (&generation{host: h}).unit(d, "")
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(unit, []byte("\n")); lines > 22 || bytes.Contains(unit, []byte("\\\n")) || bytes.ContainsFunc(unit, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Errorf("%q gives %d lines:\n%s", text, lines, unit)
		}
	})
}

// FuzzCommandLine: whatever the boot loader passes on, quotes and white space
// alone are lost, and no word is dropped.
func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{`quiet systemd.pull="raw,machine:a b:http://h/x" rw`, `a'b "c' d`, "\"\" ''", "\xff\x00=\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bare := func(text string) string {
			return strings.Map(func(c rune) rune {
				if strings.ContainsRune(" \t\n\r'\"", c) {
					return -1
				}
				return c
			}, text)
		}
		if list := words(text); bare(strings.Join(list, "")) != bare(text) {
			t.Errorf("%q becomes %q", text, list)
		}
		var warnings bytes.Buffer
		g := &generation{host: host{t.TempDir(), func(name string) string {
			return map[string]string{"SYSTEMD_PROC_CMDLINE": text}[name]
		}}, warnings: &warnings}
		if err := g.readCommandLine(); err != nil && text != "" {
			t.Errorf("%q: %v", text, err)
		}
		for _, action := range []string{g.success, g.failure} {
			if strings.ContainsAny(action, "\n\\") {
				t.Errorf("%q leads to the action %q", text, action)
			}
		}
	})
}

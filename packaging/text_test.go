package packaging_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// helpText is what a tool prints.
func helpText(t *testing.T, tool string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), tool)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/"+tool).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := exec.CommandContext(t.Context(), program, "--no-pager", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	verbLine = regexp.MustCompile(`(?m)^  ([a-z][a-z-]+)\b`)
	option   = regexp.MustCompile(`--[a-z][a-z-]+`)
)

// The manual tells of each command and option that the help text names.
func TestManualIsComplete(t *testing.T) {
	for _, tool := range []string{"machinectl", "importctl"} {
		manual, err := os.ReadFile("man/" + tool + ".1")
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(manual), `\-`, "-")
		help := helpText(t, tool)
		words := option.FindAllString(help, -1)
		for _, verb := range verbLine.FindAllStringSubmatch(help, -1) {
			words = append(words, verb[1])
		}
		slices.Sort(words)
		for _, word := range slices.Compact(words) {
			if !regexp.MustCompile(`(?m)^\.[BIT].*[^a-z-]` + word + `($|[^a-z-])`).MatchString(plain) {
				t.Errorf("man/%s.1 does not tell of %s", tool, word)
			}
		}
	}
}

func TestManualsFormat(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("NOT TESTED: needs man (Debian package man-db)")
	}
	pages, err := filepath.Glob("man/*.[18]")
	if err != nil || len(pages) != 4 {
		t.Fatalf("%v, %v", pages, err)
	}
	for _, page := range pages {
		cmd := exec.CommandContext(t.Context(), "man", "--warnings", "--encoding=UTF-8", "--local-file", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANPAGER=cat", "MANWIDTH=80")
		var out, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v\n%s", page, err, complaints.String())
		}
		if !strings.Contains(out.String(), "SEE ALSO") {
			t.Errorf("%s does not end as it should:\n%s", page, out.String())
		}
	}
}

// completer loads a completion and prints what it offers for a command line,
// whose last word is the one to complete. The tool is a stand-in that prints the
// real help text.
const completer = `
machinectl() { tool "$@"; }
importctl() { tool "$@"; }
tool() {
  local all=$*
  case $all in
    *--help) echo "$HELP" ;;
    *=help) echo "for${all%%=*}" ;;
    *--no-legend*) echo "first-of-${all##* } first-of-${all##* }" ;;
  esac
}
. "$COMPLETION"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"_berth_$1"
printf '%s\n' "${COMPREPLY[@]}"
`

func TestBashCompletion(t *testing.T) {
	help := map[string]string{"machinectl": helpText(t, "machinectl"), "importctl": helpText(t, "importctl")}
	for _, c := range []struct {
		line []string
		want string // among what is offered
		not  string
	}{
		{[]string{"machinectl", ""}, "image-status", "--all"},
		{[]string{"machinectl", "im"}, "image-status", "list"},
		{[]string{"machinectl", "--re"}, "--read-only", "--all"},
		{[]string{"machinectl", "--si"}, "--signal", "-s"},
		{[]string{"machinectl", "-"}, "-s", "list"},
		{[]string{"machinectl", "-s", "TERM", "ki"}, "kill", ""},
		{[]string{"machinectl", "kill", "--signal", "="}, "for--signal", "kill"},
		{[]string{"machinectl", "kill", "--signal", "=", "fo"}, "for--signal", "kill"},
		{[]string{"machinectl", "-q", "poweroff", ""}, "first-of-list", "poweroff"},
		{[]string{"machinectl", "remove", "fi"}, "first-of-list-images", ""},
		{[]string{"importctl", ""}, "pull-tar", "list"},
		{[]string{"importctl", "-m", "--verify", "=", "no", "pull"}, "pull-raw", ""},
		{[]string{"importctl", "cancel-transfer", ""}, "first-of-list-transfers", ""},
	} {
		tool := c.line[0]
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", completer, "complete"}, c.line...)...)
		cmd.Env = append(os.Environ(), "COMPLETION=completions/"+tool+".bash", "HELP="+help[tool])
		out, err := cmd.CombinedOutput()
		offered := strings.Fields(string(out))
		if err != nil || !slices.Contains(offered, c.want) || c.not != "" && slices.Contains(offered, c.not) {
			t.Errorf("%q: %v %q, want %q and not %q", c.line, err, offered, c.want, c.not)
		}
	}
}

// Every shell accepts what is written for it.
func TestScriptsParse(t *testing.T) {
	for pattern, shell := range map[string]string{
		"*.sh": "bash", "completions/*.bash": "bash", "completions/*.zsh": "zsh",
		"openrc/*": "sh", "runit/*": "sh", "sysvinit/*": "sh",
	} {
		t.Run(pattern, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("NOT TESTED: needs %s", shell)
			}
			files, err := filepath.Glob(pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("%v, %v", files, err)
			}
			for _, file := range files {
				if out, err := exec.CommandContext(t.Context(), shell, "-n", file).CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", file, err, out)
				}
			}
		})
	}
}

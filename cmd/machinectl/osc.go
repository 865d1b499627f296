package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// nested tells our terminal that what it shows from now on comes from a machine,
// and returns what tells it that this is over. Terminals that do not understand
// OSC 3008 ignore it.
func (t *tool) nested(machine string) (end func()) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	context := hex.EncodeToString(id[:])
	fields := []string{"start=" + context}
	add := func(key, value string) {
		if value != "" && !strings.ContainsAny(value, ";\\\x1b") {
			fields = append(fields, key+"="+value)
		}
	}
	if u, err := user.Current(); err == nil {
		add("user", u.Username)
	}
	if name, err := os.Hostname(); err == nil {
		add("hostname", name)
	}
	add("machineid", idOf("/etc/machine-id"))
	add("bootid", idOf("/proc/sys/kernel/random/boot_id"))
	add("pid", fmt.Sprint(os.Getpid()))
	add("comm", t.Tool)
	add("container", machine)
	add("type", "container")
	fmt.Fprintf(t.Stdout, "\x1b]3008;%s\x1b\\", strings.Join(fields, ";"))
	return func() { fmt.Fprintf(t.Stdout, "\x1b]3008;end=%s\x1b\\", context) }
}

// idOf reads a file with an id, "" if there is none.
func idOf(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")
}

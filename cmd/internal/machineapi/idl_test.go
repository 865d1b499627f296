package machineapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
)

// members are the types, methods and errors of an interface description, one a
// line, without comments and spaces.
func members(description string) []string {
	description = regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(description, "")
	head, rest, _ := strings.Cut(strings.TrimSpace(description), "\n")
	var list []string
	for _, at := range splitAt.FindAllStringIndex(rest, -1) {
		end := len(rest)
		if next := splitAt.FindStringIndex(rest[at[1]:]); next != nil {
			end = at[1] + next[0]
		}
		keyword, text, _ := strings.Cut(rest[at[0]:end], " ")
		list = append(list, strings.TrimPrefix(head, "interface ")+" "+keyword+" "+strings.Join(strings.Fields(text), ""))
	}
	return list
}

var splitAt = regexp.MustCompile(`(?m)^(type|method|error) `)

// Whoever has code made from the descriptions of the stock daemon finds the same
// here, down to the order of the fields.
func TestDescriptionsAreThoseOfTheStockDaemon(t *testing.T) {
	text, err := os.ReadFile("testdata/varlink-members.txt")
	if err != nil {
		t.Fatal(err)
	}
	stock := strings.Split(strings.TrimSpace(string(text)), "\n")
	h := newVarlinkHost(t, rootOnly)
	control := func(_ *machineapi.Service, s *varlink.Server) error { return s.HandleControl(varlink.Control{}) }
	var served []string
	for _, c := range []*varlink.Client{
		h.raw, h.other(control), h.other((*machineapi.Service).UserDatabase), h.other((*machineapi.Service).ResolveHook),
	} {
		var info struct{ Interfaces []string }
		if _, err := c.Call(t.Context(), "org.varlink.service.GetInfo", nil, &info); err != nil {
			t.Fatal(err)
		}
		for _, name := range info.Interfaces {
			var out struct{ Description string }
			if _, err := c.Call(t.Context(), "org.varlink.service.GetInterfaceDescription", map[string]string{"interface": name}, &out); err != nil {
				t.Fatal(err)
			}
			served = append(served, members(out.Description)...)
		}
	}
	for _, member := range stock {
		if !slices.Contains(served, member) {
			t.Errorf("not described: %s", member)
		}
	}
	// Sent by the stock daemon too, which does not say so.
	added := []string{"io.systemd.Machine error TooManyOperations()"}
	for _, member := range served {
		if !slices.Contains(stock, member) && !slices.Contains(added, member) && !strings.HasPrefix(member, "io.berth.") {
			t.Errorf("described here only: %s", member)
		}
	}
}

package varlink_test

import (
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/varlink"
)

func TestParseInterface(t *testing.T) {
	in, err := varlink.ParseInterface("# top\ninterface io.a-b.C2 # name\n\ttype Enum(a,\n\t# why\n\tb)\n" +
		"method First(a: Enum, b: ?[](x: [string]?Later)) -> (c: any)\nmethod Second()->()\ntype Later(o: object)\nerror Bad(why: string)")
	if err != nil {
		t.Fatal(err)
	}
	if in.Name != "io.a-b.C2" || !slices.Equal(in.Methods, []string{"First", "Second"}) || !slices.Equal(in.Errors, []string{"Bad"}) {
		t.Errorf("%+v", in)
	}
}

func TestParseInterfaceRefuses(t *testing.T) {
	for text, line := range map[string]string{
		"":                             "1",
		"interface":                    "1",
		"interface a":                  "1",
		"interface a..b":               "1",
		"interface a.b\nmethod M()":    "2",
		"interface a.b\nmethod M()->(": "2",
		"interface a.b\nfoo M()":       "2",
		"interface a.b\n\nmethod M(a: int, b) -> ()":                     "3",
		"interface a.b\nmethod M(a, b) -> ()":                            "2",
		"interface a.b\nmethod M(a: int, a: int) -> ()":                  "2",
		"interface a.b\nmethod M(a: ??int) -> ()":                        "2",
		"interface a.b\nmethod M(a: [int]int) -> ()":                     "2",
		"interface a.b\nmethod M(1a: int) -> ()":                         "2",
		"interface a.b\nerror M()\nmethod M() -> ()":                     "3",
		"interface a.b\ntype T(a: None)":                                 "no type None",
		"interface a.b\ntype T(a: ä)":                                    "2",
		"interface a.b\ntype T(a: " + strings.Repeat("[]", 100) + "int)": "2",
	} {
		_, err := varlink.ParseInterface(text)
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%.60q: %v, want %s in it", text, err, line)
		}
	}
}

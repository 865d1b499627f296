package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/importapi"

	"github.com/google/go-cmp/cmp"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// goldenImages are the images that systemd 262 listed.
func goldenImages(t *testing.T) []importapi.Image {
	t.Helper()
	var rows []struct {
		importapi.Image
		RO             bool
		Crtime, Mtime  int64
		LimitExclusive *uint64 // not listed
	}
	if err := json.Unmarshal([]byte(golden(t, "importctl-list-images.json")), &rows); err != nil {
		t.Fatal(err)
	}
	var list []importapi.Image
	for _, r := range rows {
		r.ReadOnly = r.RO
		if r.Crtime != 0 {
			r.Created = &r.Crtime
		}
		if r.Mtime != 0 {
			r.Modified = &r.Mtime
		}
		list = append(list, r.Image)
	}
	return list
}

func TestListsLookLikeThoseOfSystemd(t *testing.T) {
	transfers := []importapi.Transfer{{ID: 1, Type: "import_tar", Class: "machine", Local: "slow", Percent: -1}}
	for name, table := range map[string]*cli.Table{
		"importctl-list-transfers": transferTable(transfers),
		"importctl-list-images":    imageTable(goldenImages(t), time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			var text, js bytes.Buffer
			tool, stdout := toolFor(t)
			if err := table.JSON(&js, cli.JSONShort); err != nil {
				t.Fatal(err)
			}
			things := name[len("importctl-list-"):]
			if err := tool.ShowTable(t.Context(), table, things); err != nil {
				t.Fatal(err)
			}
			if _, err := text.ReadFrom(stdout()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(golden(t, name+".txt"), text.String()); diff != "" {
				t.Error("text: ", diff)
			}
			if diff := cmp.Diff(golden(t, name+".json"), js.String()); diff != "" {
				t.Error("JSON: ", diff)
			}
		})
	}
}

func TestTransfersAreSortedByNameThenNumber(t *testing.T) {
	var out bytes.Buffer
	table := transferTable([]importapi.Transfer{
		{ID: 3, Local: "b", Percent: 0.999}, {ID: 2, Local: "b"}, {ID: 4, Local: "a", Percent: 1},
	})
	if err := table.JSON(&out, cli.JSONShort); err != nil {
		t.Fatal(err)
	}
	want := `[{"id":4,"progress":100,"type":"","class":"","local":"a","remote":""},` +
		`{"id":2,"progress":0,"type":"","class":"","local":"b","remote":""},` +
		`{"id":3,"progress":99,"type":"","class":"","local":"b","remote":""}]` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

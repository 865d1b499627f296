package main

import (
	"testing"

	"berth/cmd/internal/machineapi"

	"github.com/google/go-cmp/cmp"
)

func TestParseVolume(t *testing.T) {
	yes, no, mebi := true, false, uint64(1<<20)
	for text, want := range map[string]volume{
		"fs:vol":             {provider: "fs", Volume: machineapi.Volume{Name: "vol"}},
		"fs:vol:":            {provider: "fs", Volume: machineapi.Volume{Name: "vol"}},
		"fs:vol:virtio-blk:": {provider: "fs", Volume: machineapi.Volume{Name: "vol"}, config: "virtio-blk"},
		"fs:vol::create=new": {provider: "fs", Volume: machineapi.Volume{Name: "vol", CreateMode: "new"}},
		"fs:vol:c:create=any,template=t,ro=yes,create-size=1M,request-as=blk": {
			provider: "fs", config: "c",
			Volume: machineapi.Volume{Name: "vol", CreateMode: "any", Template: "t", ReadOnly: &yes, Size: &mebi, RequestAs: "blk"},
		},
		"fs:vol::read-only=auto":      {provider: "fs", Volume: machineapi.Volume{Name: "vol"}},
		"fs:vol::read-only=0,size=1M": {provider: "fs", Volume: machineapi.Volume{Name: "vol", ReadOnly: &no, Size: &mebi}},
	} {
		got, err := parseVolume(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(volume{})); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
		if got.name() != "fs:vol" {
			t.Errorf("%q: name %q", text, got.name())
		}
	}
	for _, text := range []string{
		"", "fs", "fs:", ":vol", "../x:vol", ".:vol", "fs:vol::x", "fs:vol::x=y", "fs:vol::=y", "fs:vol::create=", "fs:vol::create=all",
		"fs:vol::template=", "fs:vol::ro=maybe", "fs:vol::ro=yes,read-only=no", "fs:vol::size=0", "fs:vol::size=x",
		"fs:vol::size=1,create-size=1", "fs:vol::request-as=lnk", "fs:vol::create=new,,", "fs:vol::create=new,create=new",
	} {
		if got, err := parseVolume(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

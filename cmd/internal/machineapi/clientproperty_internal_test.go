package machineapi

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestInterfacesOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m"), []byte("LEADER=42\nNETIF=\" 7 9 x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := interfacesOf(dir, "m"); !slices.Equal(got, []int32{7, 9}) {
		t.Errorf("links %v", got)
	}
}

package compress

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

// Tools says which programs of the host may be run. The zero value runs none.
type Tools struct {
	// Dirs are the directories, by absolute path, in which programs are looked
	// for, best first. $PATH plays no role: whoever sets it would choose what
	// reads foreign bytes.
	Dirs []string
}

// HostTools are the programs that the distribution installed.
func HostTools() Tools { return Tools{Dirs: []string{"/usr/bin", "/bin"}} }

// NewReader is [Tools.NewReader] of [HostTools].
func NewReader(ctx context.Context, r io.Reader) (*Reader, error) {
	return HostTools().NewReader(ctx, r)
}

// NewWriter is [Tools.NewWriter] of [HostTools].
func NewWriter(ctx context.Context, w io.Writer, f Format) (io.WriteCloser, error) {
	return HostTools().NewWriter(ctx, w, f)
}

// find returns the first of the named programs that is installed, or "".
func (t Tools) find(names ...string) string {
	for _, name := range names {
		for _, dir := range t.Dirs {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path
			}
		}
	}
	return ""
}

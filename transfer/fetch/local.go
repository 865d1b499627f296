package fetch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
)

// local is a file of this host.
type local struct {
	file      *os.File
	url       string
	entity    entity
	modified  time.Time
	regular   bool
	unchanged bool
	offset    int64
}

// LocalPath returns the path that a file URL means.
func LocalPath(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	return localPath(u)
}

func localPath(u *url.URL) (string, bool) {
	onHost := u.Host == "" || u.Host == "localhost"
	return u.Path, u.Scheme == "file" && onHost && len(u.Path) > 0 && u.Path[0] == '/'
}

func openLocal(u *url.URL, req Request) (*Download, error) {
	path, ok := localPath(u)
	if !ok {
		return nil, errors.New("a file URL must be like file:///path")
	}
	// Not blocking: a FIFO in that place must not hold us up.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	} else if err != nil {
		return nil, err
	}
	l := &local{file: f, url: redacted(u)}
	if err := l.examine(req); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Download{request: req, source: l}, nil
}

func (l *local) examine(req Request) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	l.regular = info.Mode().IsRegular()
	size := info.Size()
	if !l.regular {
		if info.Mode().Type() != os.ModeDevice {
			return errors.New("neither a regular file nor a block device")
		}
		if size, err = l.file.Seek(0, io.SeekEnd); err != nil {
			return fmt.Errorf("find the size of the device: %w", err)
		}
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("go to the begin of the device: %w", err)
		}
	}
	if size > req.MaxSize {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, size, req.MaxSize)
	}
	l.modified = info.ModTime()
	l.entity = entity{Size: size, Modified: l.modified.UTC().Format(http.TimeFormat)}
	l.unchanged = !req.ModifiedSince.IsZero() && !l.modified.After(req.ModifiedSince)
	return nil
}

func (l *local) Read(p []byte) (int, error) {
	left := l.entity.Size - l.offset
	if left == 0 || l.unchanged {
		return 0, l.atEnd()
	}
	n, err := l.file.Read(p[:min(int64(len(p)), left)])
	l.offset += int64(n)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %d of %d bytes", ErrTruncated, l.offset, l.entity.Size)
	}
	return n, err
}

// atEnd makes sure that nobody wrote to the file while it was read.
func (l *local) atEnd() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if l.regular && (info.Size() != l.entity.Size || !info.ModTime().Equal(l.modified)) {
		return errors.New("the file changed while it was read")
	}
	return io.EOF
}

func (l *local) about() (entity, string, bool) { return l.entity, l.url, l.unchanged }
func (l *local) bytes() int64                  { return l.offset }
func (l *local) close() error                  { return l.file.Close() }

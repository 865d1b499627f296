package disk_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"berth/transfer/disk"
)

func TestWrite(t *testing.T) {
	content := string(make([]byte, 5000)) + "x"
	for _, test := range []struct {
		limit int64
		want  error
	}{{0, nil}, {5001, nil}, {5000, disk.ErrTooLarge}} {
		var out bytes.Buffer
		n, err := disk.Write(t.Context(), &out, strings.NewReader(content), test.limit)
		if !errors.Is(err, test.want) || test.want == nil && (out.String() != content || n != 5001) {
			t.Errorf("limit %d: %d bytes, %v", test.limit, n, err)
		}
		if test.want != nil && int64(out.Len()) > test.limit {
			t.Errorf("limit %d: %d bytes were written", test.limit, out.Len())
		}
	}
}

func TestWriteZeros(t *testing.T) {
	for _, n := range []int64{0, 1, 1 << 20, 1<<20 + 1} {
		var out bytes.Buffer
		if err := disk.WriteZeros(t.Context(), &out, n); err != nil || int64(out.Len()) != n || bytes.ContainsFunc(out.Bytes(), func(r rune) bool { return r != 0 }) {
			t.Errorf("%d zeros: %d bytes, %v", n, out.Len(), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := disk.WriteZeros(ctx, &bytes.Buffer{}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

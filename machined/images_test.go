package machined

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"berth/images"
)

// withImages is a manager over a real store with one directory image, "tree".
func withImages(t *testing.T) *Manager {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/lib/machines/tree/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/machines/tree/etc/hostname"), []byte("inside\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := testConfig(t)
	config.Images = images.NewStore(images.SystemLocations(root))
	return testManager(t, config)
}

func imageNames(t *testing.T, m *Manager) (list []string) {
	t.Helper()
	all, err := m.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range all {
		if !image.Host() {
			list = append(list, image.Name)
		}
	}
	return list
}

func TestImageVerbs(t *testing.T) {
	m := withImages(t)
	ctx := t.Context()
	data, err := m.ImageMetadata(ctx, "tree")
	if err != nil || data.Hostname != "inside" {
		t.Errorf("ImageMetadata = %+v, %v", data, err)
	}
	if err := errors.Join(m.CloneImage(ctx, "tree", "copy", images.CloneOptions{}), m.RenameImage(ctx, "copy", ".hidden"), m.CloneImage(ctx, "tree", "other", images.CloneOptions{})); err != nil {
		t.Fatal(err)
	}
	if got, want := imageNames(t, m), []string{".hidden", "other", "tree"}; !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
	if err := m.RemoveImage(ctx, "other"); err != nil {
		t.Error(err)
	}
	removed, err := m.CleanPool(ctx, images.CleanHidden)
	if err != nil || len(removed) != 1 || removed[0].Name != ".hidden" {
		t.Errorf("CleanPool = %v, %v", removed, err)
	}
	if got := imageNames(t, m); !slices.Equal(got, []string{"tree"}) {
		t.Errorf("images %q", got)
	}
	// A rename that failed leaves the image where it was (defect D16).
	if err := m.RenameImage(ctx, "tree", ".#x"); !errors.Is(err, images.ErrInvalidName) {
		t.Errorf("RenameImage: %v", err)
	}
	if _, err := m.Image(ctx, "tree"); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"clone": m.CloneImage(ctx, "absent", "x", images.CloneOptions{}), "remove": m.RemoveImage(ctx, "absent"),
		"mark": m.SetImageReadOnly(ctx, "absent", true),
	} {
		if !errors.Is(err, images.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
}

func TestImagesWithoutStore(t *testing.T) {
	m := testManager(t, testConfig(t))
	if _, err := m.Images(t.Context()); !errors.Is(err, ErrNotSupported) {
		t.Errorf("Images: %v", err)
	}
	if err := m.RemoveImage(t.Context(), "x"); !errors.Is(err, ErrNotSupported) {
		t.Errorf("RemoveImage: %v", err)
	}
}

func TestOperationsAreBounded(t *testing.T) {
	m := testManager(t, testConfig(t))
	running := make(chan struct{})
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range maxOperations {
		wg.Go(func() {
			err := m.operate(t.Context(), "wait", func(context.Context) error {
				running <- struct{}{}
				<-release
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-running
	}
	nothing := func(context.Context) error { return nil }
	if err := m.operate(t.Context(), "one more", nothing); !errors.Is(err, ErrTooManyOperations) {
		t.Errorf("one more: %v", err)
	}
	close(release)
	wg.Wait()
	if err := m.operate(t.Context(), "afterwards", nothing); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsOperations(t *testing.T) {
	m := testManager(t, testConfig(t))
	running := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- m.operate(t.Context(), "wait", func(ctx context.Context) error {
			close(running)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	<-running
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("operation ended with %v", err)
	}
	if err := m.operate(t.Context(), "late", func(context.Context) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("late: %v", err)
	}
}

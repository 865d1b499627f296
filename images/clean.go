package images

import (
	"context"
	"errors"
	"fmt"
)

// CleanMode says what [Store.Clean] removes.
type CleanMode int

// The modes of cleaning.
const (
	// CleanHidden removes hidden images only, such as kept downloads.
	CleanHidden CleanMode = iota
	// CleanAll removes every image that may be removed.
	CleanAll
)

// Removed is an image that has gone.
type Removed struct {
	Name string
	// UsageExclusive is what it alone took up before, in bytes, or [Unknown].
	UsageExclusive uint64
}

// Clean removes images of a class, and leftovers and spools of every age from
// its pool. Images in use, of the vendor and of the host stay, without error.
// What fails otherwise is reported in the error and does not keep the others
// from being removed; the result tells what has gone in either case.
func (s *Store) Clean(ctx context.Context, c Class, mode CleanMode) ([]Removed, error) {
	all, err := s.listClass(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("clean %s images: %w", c, err)
	}
	var removed []Removed
	var errs []error
	for _, img := range all {
		if img.Vendor() || img.Host() || mode == CleanHidden && !img.Hidden() {
			continue
		}
		err := s.Remove(ctx, img)
		if err == nil || errors.Is(err, ErrAuxiliary) {
			removed = append(removed, Removed{img.Name, img.UsageExclusive})
		}
		if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrNotFound) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return removed, errors.Join(errs...)
		}
	}
	if pool := s.places.Pool[c]; pool != "" {
		_, err := Sweep(ctx, pool, SweepOptions{Foreign: s.trees})
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

package machineapi

import (
	"context"
	"iter"

	"berth/cmd/internal/varlink"
	"berth/cmd/internal/wire"
	"berth/images"
)

func (s *Service) setPoolLimit(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Limit       uint64 `json:"limit"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if !images.ValidLimit(in.Limit) {
		return varlink.InvalidParameter("limit")
	}
	about := map[string]string{"verb": "set_pool_limit"}
	if err := s.authorize(ctx, call, actionManageImages, about, in.Interactive); err != nil {
		return err
	}
	return imageError(s.Manager.SetPoolLimit(ctx, in.Limit))
}

// cleanedImage is one reply of CleanPool.
type cleanedImage struct {
	Name           string  `json:"name"`
	UsageExclusive *uint64 `json:"usageExclusive,omitempty"`
}

// cleanPool goes on when the client leaves, see cloneImage.
func (s *Service) cleanPool(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Mode        string `json:"mode"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if !call.More() {
		return varlink.ExpectedMore()
	}
	about := map[string]string{"verb": "clean_pool", "mode": in.Mode}
	if err := s.authorize(ctx, call, actionManageImages, about, in.Interactive); err != nil {
		return err
	}
	removed, err := s.Manager.CleanPool(call.Detach(), cleanModes[in.Mode]) //nolint:contextcheck // on purpose
	var replies iter.Seq2[cleanedImage, error] = func(yield func(cleanedImage, error) bool) {
		for _, r := range removed {
			if !yield(cleanedImage{r.Name, wire.Size(r.UsageExclusive)}, nil) {
				return
			}
		}
		if err != nil {
			yield(cleanedImage{}, imageError(err))
		}
	}
	return varlink.ReplyEach(call, replies, noSuchImage())
}

// cleanModes are the modes by their names on both transports.
var cleanModes = map[string]images.CleanMode{"hidden": images.CleanHidden, "all": images.CleanAll}

package machineapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/cmd/internal/wire"
	"berth/images"
)

func imageDetails(image, verb string) map[string]string {
	return map[string]string{"image": image, "verb": verb}
}

func (s *Service) listImages(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string `json:"name"`
		Acquire     string `json:"acquireMetadata"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	inspect := in.Acquire == "yes" || in.Acquire == "graceful"
	if inspect {
		if err := s.authorize(ctx, call, actionInspectImages, imageDetails(in.Name, "list"), in.Interactive); err != nil {
			return err
		}
	}
	all, err := s.listed(ctx, in.Name)
	if err != nil {
		return imageError(err)
	}
	var replies iter.Seq2[Image, error] = func(yield func(Image, error) bool) {
		for _, i := range all {
			w := imageOnWire(i)
			var err error
			if inspect {
				var m images.Metadata
				if m, err = s.Manager.ImageMetadata(ctx, i.Name); err == nil {
					w.describe(m)
				} else if in.Acquire == "graceful" {
					err = nil
				}
			}
			if !yield(w, imageError(err)) || err != nil {
				return
			}
		}
	}
	return varlink.ReplyEach(call, replies, noSuchImage())
}

func (s *Service) listed(ctx context.Context, name string) ([]images.Image, error) {
	if name == "" {
		return s.Manager.Images(ctx)
	}
	i, err := s.Manager.Image(ctx, name)
	return []images.Image{i}, err
}

func noSuchImage() error { return &varlink.Error{Name: imageName + ".NoSuchImage"} }

// errnos stand for what io.systemd.MachineImage has no name for.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{images.ErrExists, syscall.EEXIST},
	{images.ErrBusy, syscall.EBUSY},
	{images.ErrReadOnly, syscall.EROFS},
}

// imageError names errors as io.systemd.MachineImage does.
func imageError(err error) error {
	for _, e := range errnos {
		if errors.Is(err, e.err) && !errors.Is(err, e.errno) {
			err = fmt.Errorf("%w (%w)", err, e.errno)
		}
	}
	named := wireError(err)
	var e *varlink.Error
	if errors.As(named, &e) && e.Name == machineName+".TooManyOperations" {
		return &varlink.Error{Name: imageName + ".TooManyOperations"}
	}
	return named
}

// imageVerb is what the methods that change an image share: parameters, name,
// authorization.
func (s *Service) imageVerb(ctx context.Context, call *varlink.Call, verb, name string, interactive bool) error {
	if err := images.ValidName(name); err != nil {
		return varlink.InvalidParameter("name")
	}
	return s.authorize(ctx, call, actionManageImages, imageDetails(name, verb), interactive)
}

func (s *Service) updateImage(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string  `json:"name"`
		NewName     string  `json:"newName"`
		ReadOnly    *bool   `json:"readOnly"`
		Limit       *uint64 `json:"limit"`
		Interactive bool    `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.NewName != "" && images.ValidName(in.NewName) != nil {
		return varlink.InvalidParameter("newName")
	}
	if err := s.imageVerb(ctx, call, "update", in.Name, in.Interactive); err != nil {
		return err
	}
	name := in.Name
	if in.NewName != "" {
		if err := s.Manager.RenameImage(ctx, name, in.NewName); err != nil {
			return imageError(err)
		}
		name = in.NewName
	}
	var err error
	if in.ReadOnly != nil {
		err = s.Manager.SetImageReadOnly(ctx, name, *in.ReadOnly)
	}
	if in.Limit != nil {
		err = errors.Join(err, fmt.Errorf("limit image %q: %w", name, images.ErrNotSupported))
	}
	return imageError(err)
}

func (s *Service) cloneImage(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string `json:"name"`
		NewName     string `json:"newName"`
		ReadOnly    bool   `json:"readOnly"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := images.ValidName(in.NewName); err != nil {
		return varlink.InvalidParameter("newName")
	}
	if err := s.imageVerb(ctx, call, "clone", in.Name, in.Interactive); err != nil {
		return err
	}
	return imageError(s.Manager.CloneImage(ctx, in.Name, in.NewName, in.ReadOnly))
}

func (s *Service) removeImage(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string `json:"name"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := s.imageVerb(ctx, call, "remove", in.Name, in.Interactive); err != nil {
		return err
	}
	return imageError(s.Manager.RemoveImage(ctx, in.Name))
}

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
	mode := images.CleanHidden
	if in.Mode == "all" {
		mode = images.CleanAll
	}
	removed, err := s.Manager.CleanPool(ctx, mode)
	type reply struct {
		Name           string  `json:"name"`
		UsageExclusive *uint64 `json:"usageExclusive,omitempty"`
	}
	var replies iter.Seq2[reply, error] = func(yield func(reply, error) bool) {
		for _, r := range removed {
			if !yield(reply{r.Name, wire.Size(r.UsageExclusive)}, nil) {
				return
			}
		}
		if err != nil {
			yield(reply{}, imageError(err))
		}
	}
	return varlink.ReplyEach(call, replies, noSuchImage())
}

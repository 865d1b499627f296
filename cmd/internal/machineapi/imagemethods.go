package machineapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/images"
)

func imageDetails(image, verb string) map[string]string {
	return map[string]string{"image": image, "verb": verb}
}

func (s *Service) listImages(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        *string `json:"name"`
		Acquire     string  `json:"acquireMetadata"`
		Interactive bool    `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.Name != nil && images.ValidName(*in.Name) != nil {
		return varlink.InvalidParameter("name")
	}
	inspect := in.Acquire == "yes" || in.Acquire == "graceful"
	if inspect {
		about := imageDetails(named(in.Name), "list")
		about["name"] = named(in.Name)
		if err := s.authorize(ctx, call, actionInspectImages, about, in.Interactive); err != nil {
			return err
		}
	}
	if in.Name == nil && !call.More() {
		return varlink.ExpectedMore()
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
				err = s.describeImage(ctx, &w, in.Acquire == "graceful")
			}
			if errors.Is(err, images.ErrNotFound) && in.Name == nil {
				continue // it has gone meanwhile
			}
			if !yield(w, imageError(err)) || err != nil {
				return
			}
		}
	}
	return varlink.ReplyEach(call, replies, noSuchImage())
}

func (s *Service) listed(ctx context.Context, name *string) ([]images.Image, error) {
	if name == nil {
		return s.Manager.Images(ctx)
	}
	i, err := s.Manager.Image(ctx, *name)
	return []images.Image{i}, err
}

// describeImage adds what the image says about itself. With graceful set, what
// cannot be read is left out.
func (s *Service) describeImage(ctx context.Context, w *Image, graceful bool) error {
	m, err := s.Manager.ImageMetadata(ctx, w.Name)
	if err == nil {
		w.describe(m)
	}
	if graceful {
		return nil
	}
	return err
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
	{images.ErrNoQuota, syscall.EOPNOTSUPP},
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

// imageVerb is what the methods that change an image share: its name, whether it
// is there at all, authorization.
func (s *Service) imageVerb(ctx context.Context, call *varlink.Call, about map[string]string, interactive bool) error {
	name := about["image"]
	if images.ValidName(name) != nil {
		return varlink.InvalidParameter("name")
	}
	if _, err := s.Manager.Image(ctx, name); err != nil {
		return imageError(err)
	}
	return s.authorize(ctx, call, actionManageImages, about, interactive)
}

func (s *Service) updateImage(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string  `json:"name"`
		NewName     *string `json:"newName"`
		ReadOnly    *bool   `json:"readOnly"`
		Limit       *uint64 `json:"limit"`
		Interactive bool    `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if images.ValidName(in.Name) != nil {
		return varlink.InvalidParameter("name")
	}
	if in.NewName != nil && images.ValidName(*in.NewName) != nil {
		return varlink.InvalidParameter("newName")
	}
	if in.Limit != nil && !images.ValidLimit(*in.Limit) {
		return varlink.InvalidParameter("limit")
	}
	if err := s.imageVerb(ctx, call, imageDetails(in.Name, "update"), in.Interactive); err != nil {
		return err
	}
	if in.NewName != nil {
		if err := s.Manager.RenameImage(ctx, in.Name, *in.NewName); err != nil {
			return imageError(err)
		}
		in.Name = *in.NewName
	}
	// Of the others one may fail without the other; the first error is told.
	var errs []error
	if in.ReadOnly != nil {
		errs = append(errs, imageError(s.Manager.SetImageReadOnly(ctx, in.Name, *in.ReadOnly)))
	}
	if in.Limit != nil {
		err := s.Manager.SetImageLimit(ctx, in.Name, *in.Limit)
		if *in.Limit != images.NoLimit || !errors.Is(err, images.ErrNotSupported) {
			errs = append(errs, imageError(err)) // what cannot be limited has no limit
		}
	}
	return cmp.Or(errs...)
}

// cloneImage goes on when the client leaves, as everything that takes time.
func (s *Service) cloneImage(ctx context.Context, call *varlink.Call) error {
	return s.clone(ctx, call.Detach(), call, nil) //nolint:contextcheck // on purpose
}

// clone copies an image until copying ends; all that comes before ends with ctx.
func (s *Service) clone(ctx, copying context.Context, call *varlink.Call, progress func(copied, total int64)) error {
	var in struct {
		Name        string `json:"name"`
		NewName     string `json:"newName"`
		ReadOnly    bool   `json:"readOnly"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if images.ValidName(in.Name) != nil {
		return varlink.InvalidParameter("name")
	}
	if images.ValidName(in.NewName) != nil {
		return varlink.InvalidParameter("newName")
	}
	about := imageDetails(in.Name, "clone")
	about["new_name"], about["read_only"] = in.NewName, digit(in.ReadOnly)
	if err := s.imageVerb(ctx, call, about, in.Interactive); err != nil {
		return err
	}
	options := images.CloneOptions{ReadOnly: in.ReadOnly, Progress: progress}
	return imageError(s.Manager.CloneImage(copying, in.Name, in.NewName, options))
}

func (s *Service) removeImage(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string `json:"name"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := s.imageVerb(ctx, call, imageDetails(in.Name, "remove"), in.Interactive); err != nil {
		return err
	}
	return imageError(s.Manager.RemoveImage(call.Detach(), in.Name)) //nolint:contextcheck // see cloneImage
}

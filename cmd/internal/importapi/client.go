package importapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/importd"
)

// Client talks to our importd over Varlink.
type Client struct {
	// Interactive lets importd have somebody asked for a password.
	Interactive bool

	conn *varlink.Client
}

// Dial connects to the importd that listens at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := varlink.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("connect to importd at %s: %w", path, err)
	}
	return &Client{Interactive: true, conn: conn}, nil
}

// Close ends the connection. Transfers go on.
func (c *Client) Close() error { return c.conn.Close() }

// Ours says whether this importd offers all that the client needs; systemd's does
// most of it over D-Bus only.
func (c *Client) Ours(ctx context.Context) (bool, error) {
	var info struct{ Interfaces []string }
	if _, err := c.conn.Call(ctx, "org.varlink.service.GetInfo", nil, &info); err != nil {
		return false, fmt.Errorf("ask importd what it offers: %w", err)
	}
	return slices.Contains(info.Interfaces, berthName), nil
}

// Pull starts a pull and yields its updates until it is over.
func (c *Client) Pull(ctx context.Context, p PullParameters) iter.Seq2[Update, error] {
	p.Interactive = c.Interactive
	return c.follow(ctx, "Pull", p)
}

// PullOCI starts a pull from a container registry.
func (c *Client) PullOCI(ctx context.Context, p OCIParameters) iter.Seq2[Update, error] {
	return c.Pull(ctx, PullParameters{
		Remote: p.Reference, Local: p.Local, Type: FormOCI, Class: p.Class, Force: p.Force, ReadOnly: p.ReadOnly,
	})
}

// Import starts an import of a file, pipe or directory.
func (c *Client) Import(ctx context.Context, p ImportParameters, file *os.File) iter.Seq2[Update, error] {
	p.Interactive = c.Interactive
	return c.follow(ctx, "Import", p, file)
}

// Export starts an export to a file or pipe.
func (c *Client) Export(ctx context.Context, p ExportParameters, file *os.File) iter.Seq2[Update, error] {
	p.Interactive = c.Interactive
	return c.follow(ctx, "Export", p, file)
}

// Cancel asks a transfer to end.
func (c *Client) Cancel(ctx context.Context, id uint32) error {
	_, err := c.conn.Call(ctx, berthName+".Cancel", map[string]any{
		"id": id, "allowInteractiveAuthentication": c.Interactive,
	}, nil)
	return explained(err)
}

// ListTransfers returns the transfers of a class, or of all if it is empty.
func (c *Client) ListTransfers(ctx context.Context, class images.Class) ([]Transfer, error) {
	return collect[Transfer](ctx, c.conn, systemdName+".ListTransfers", class, systemdName+".NoTransfers")
}

// ListImages returns the images of a class, or of all if it is empty.
func (c *Client) ListImages(ctx context.Context, class images.Class) ([]Image, error) {
	type reply struct {
		Image Image `json:"image"`
	}
	replies, err := collect[reply](ctx, c.conn, berthName+".ListImages", class, berthName+".NoImages")
	if err != nil {
		return nil, err
	}
	list := make([]Image, len(replies))
	for i, r := range replies {
		list[i] = r.Image
	}
	return list, nil
}

func (c *Client) follow(ctx context.Context, method string, in any, files ...*os.File) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		for reply, err := range c.conn.CallMore(ctx, berthName+"."+method, in, files...) {
			var u Update
			if err == nil {
				err = json.Unmarshal(reply.Parameters, &u)
			}
			if !yield(u, explained(err)) || err != nil {
				return
			}
		}
	}
}

func collect[T any](ctx context.Context, conn *varlink.Client, method string, class images.Class, none string) ([]T, error) {
	var in struct {
		Class images.Class `json:"class,omitempty"`
	}
	in.Class = class
	var list []T
	for reply, err := range conn.CallMore(ctx, method, in) {
		if errors.Is(err, &varlink.Error{Name: none}) {
			return nil, nil
		} else if err != nil {
			return nil, explained(err)
		}
		var item T
		if err := json.Unmarshal(reply.Parameters, &item); err != nil {
			return nil, fmt.Errorf("read the answer of importd: %w", err)
		}
		list = append(list, item)
	}
	return list, nil
}

// explained turns the errors of the interface into words for people. What a
// caller must tell apart stays an importd error.
func explained(err error) error {
	var e *varlink.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Name {
	case berthName + ".TransferCancelled":
		return importd.ErrCanceled
	case berthName + ".TooManyTransfers":
		return importd.ErrTooMany
	case berthName + ".TransferFailed":
		var f failure
		if err := e.Decode(&f); err == nil {
			return &importd.Failure{Text: f.Reason, Errno: syscall.Errno(f.Errno)}
		}
	case berthName + ".InvalidRequest":
		var r refusal
		if err := e.Decode(&r); err == nil {
			return &importd.InvalidError{Field: r.Parameter, Reason: r.Reason}
		}
	case berthName + ".NoSuchTransfer":
		var in struct{ ID int }
		if err := e.Decode(&in); err == nil {
			return fmt.Errorf("transfer %d: %w", in.ID, importd.ErrNoSuchTransfer)
		}
	case varlink.ErrorInvalidParameter:
		var in struct{ Parameter string }
		if err := e.Decode(&in); err == nil {
			return fmt.Errorf("importd refuses the value of %q", in.Parameter)
		}
	case varlink.ErrorPermissionDenied:
		return errors.New("access denied")
	}
	return err
}

package varlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Info is what org.varlink.service.GetInfo tells about a server.
type Info struct {
	Vendor  string `json:"vendor"`
	Product string `json:"product"`
	Version string `json:"version"`
	URL     string `json:"url"`
}

// Options of a server. The zero value is ready for use.
type Options struct {
	MaxConnections int           // in total; 0 is 4096
	MaxPerUID      int           // of one user; 0 is 128
	WriteTimeout   time.Duration // for one reply, then the connection is dropped; 0 is 30 s
	// AcceptFDs lets clients pass file descriptors; otherwise they are closed
	// on arrival.
	AcceptFDs bool
	// CheckReplies makes Reply and Continue fail for what the interface
	// description does not allow. It is meant for tests.
	CheckReplies bool
	// Hold, if set, is called for every connection; what it returns is called
	// when the connection has ended. It keeps an idle timer from firing.
	Hold func() (release func())
	// Logger gets what no client is told; nil discards it.
	Logger *slog.Logger
}

const (
	defaultMaxConnections = 4096
	defaultMaxPerUID      = 128
	defaultWriteTimeout   = 30 * time.Second
)

// Handler answers one call. It returns nil after it has replied; if it has
// not, an empty reply is sent. An error is sent as an error reply: an [*Error]
// as it is, any other as [SystemError] makes it.
//
// The context ends when the client hangs up, see [Call.Detach], and when the
// server ends. A handler may only use its Call until it returns.
type Handler func(ctx context.Context, call *Call) error

// Server dispatches calls to handlers.
type Server struct {
	info       Info
	opts       Options
	log        *slog.Logger
	quota      *quota
	interfaces map[string]*service
}

// service is an interface with its handlers.
type service struct {
	*Interface
	handlers map[string]Handler
	loose    map[string]bool
	lax      map[string]bool
}

// NewServer makes a server that answers org.varlink.service. Handlers are
// added with [Server.Handle] before the first [Server.Serve].
func NewServer(info Info, opts Options) *Server {
	if opts.MaxConnections == 0 {
		opts.MaxConnections = defaultMaxConnections
	}
	if opts.MaxPerUID == 0 {
		opts.MaxPerUID = defaultMaxPerUID
	}
	if opts.WriteTimeout == 0 {
		opts.WriteTimeout = defaultWriteTimeout
	}
	s := &Server{info: info, opts: opts, log: opts.Logger, interfaces: make(map[string]*service)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.quota = newQuota(opts.MaxConnections, opts.MaxPerUID)
	s.addBuiltin()
	return s
}

// HandleOption relaxes the checks of one interface.
type HandleOption func(*service)

// LooseTypes leaves values of the named types to the handlers: clients are
// known to send other things than the description says.
func LooseTypes(names ...string) HandleOption {
	return func(s *service) {
		for _, name := range names {
			s.loose[name] = true
		}
	}
}

// IgnoreUnknown lets calls of the given methods (short names) carry parameters
// that are not described.
func IgnoreUnknown(methods ...string) HandleOption {
	return func(s *service) {
		for _, name := range methods {
			s.lax[name] = true
		}
	}
}

// Handle adds an interface by its description and the handlers of its methods,
// keyed by short name. A method without a handler answers MethodNotImplemented;
// a handler without a method is an error.
func (s *Server) Handle(description string, methods map[string]Handler, opts ...HandleOption) error {
	in, err := ParseInterface(description)
	if err != nil {
		return err
	}
	if s.interfaces[in.Name] != nil {
		return fmt.Errorf("interface %s is served already", in.Name)
	}
	for name := range methods {
		if _, ok := in.methods[name]; !ok {
			return fmt.Errorf("interface %s describes no method %s", in.Name, name)
		}
	}
	svc := &service{Interface: in, handlers: methods, loose: map[string]bool{}, lax: map[string]bool{}}
	for _, opt := range opts {
		opt(svc)
	}
	s.interfaces[in.Name] = svc
	return nil
}

// Unimplemented lists the described methods that have no handler, by full
// name, sorted. Tests of a service compare it with what they expect.
func (s *Server) Unimplemented() []string {
	var missing []string
	for _, svc := range s.interfaces {
		for _, name := range svc.Methods {
			if svc.handlers[name] == nil {
				missing = append(missing, svc.Name+"."+name)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// Interfaces lists the names of what is served, sorted.
func (s *Server) Interfaces() []string { return slices.Sorted(maps.Keys(s.interfaces)) }

// Connections is the number of clients at this moment.
func (s *Server) Connections() int { return s.quota.held() }

// lookup finds a method by its full name.
func (s *Server) lookup(full string) (*service, string, error) {
	dot := strings.LastIndexByte(full, '.')
	svc := s.interfaces[full[:max(dot, 0)]]
	if svc == nil {
		return nil, "", &Error{
			Name:       ErrorInterfaceNotFound,
			Parameters: map[string]string{"interface": full[:max(dot, 0)]},
		}
	}
	name := full[dot+1:]
	if _, ok := svc.methods[name]; !ok {
		return nil, "", methodError(ErrorMethodNotFound, full)
	}
	if svc.handlers[name] == nil {
		return nil, "", methodError(ErrorMethodNotImplemented, full)
	}
	return svc, name, nil
}

// Serve answers the clients of a listening AF_UNIX stream socket until ctx
// ends. Then it closes the listener and all its connections, waits for the
// handlers and returns nil. It may be called for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	s.welcome(l)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept varlink connection: %w", err)
		default:
			// Out of descriptors or memory, which others may give back.
			s.log.Warn("accept varlink connection", "error", err)
			if !wait(ctx, time.Second) {
				return nil
			}
			continue
		}
		if c := s.admit(nc); c != nil {
			clients.Go(func() { c.serve(ctx) })
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit makes a connection of what was accepted, or closes it.
func (s *Server) admit(nc net.Conn) *conn {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		s.log.Error("varlink listener is no AF_UNIX socket", "network", nc.LocalAddr().Network())
		_ = nc.Close()
		return nil
	}
	s.welcome(uc) // it may have come before Serve
	peer, err := peerOf(uc)
	if err == nil && !s.quota.take(peer.UID) {
		err = errors.New("too many connections")
	}
	if err != nil {
		s.log.Warn("refuse varlink connection", "error", err, "uid", peer.UID, "pid", peer.PID)
		peer.close()
		_ = nc.Close()
		return nil
	}
	c := &conn{server: s, nc: uc, peer: peer, inbox: newInbox(uc), release: func() {}}
	if s.opts.Hold != nil {
		c.release = s.opts.Hold()
	}
	return c
}

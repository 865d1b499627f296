package varlink

import (
	"context"
	"net"
)

// Services returns one function per listener that serves it until its context
// ends; see [Server.Serve].
func (s *Server) Services(listeners []net.Listener) []func(context.Context) error {
	var services []func(context.Context) error
	for _, l := range listeners {
		services = append(services, func(ctx context.Context) error { return s.Serve(ctx, l) })
	}
	return services
}

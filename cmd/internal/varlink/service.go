package varlink

import (
	"context"
	_ "embed"
	"os"
)

//go:embed io.systemd.service.varlink
var controlDescription string

// Control is what io.systemd.service steers in a daemon.
type Control struct {
	// SetLogLevel takes a syslog priority from 0 to 7.
	SetLogLevel func(priority int)
	LogLevel    func() int
	Environ     func() []string // such as os.Environ
}

// HandleControl registers io.systemd.service. Setting the log level and
// reading the environment is for root and the daemon's own user.
func (s *Server) HandleControl(ctl Control) error {
	return s.Handle(controlDescription, map[string]Handler{
		"Ping": func(_ context.Context, call *Call) error { return call.Reply(nil) },
		"SetLogLevel": func(_ context.Context, call *Call) error {
			var in struct{ Level *int }
			if err := call.Parameters(&in); err != nil {
				return err
			}
			if in.Level == nil || *in.Level < 0 || *in.Level > 7 {
				return InvalidParameter("level")
			}
			if !ownerOrRoot(call.Peer()) {
				return PermissionDenied()
			}
			ctl.SetLogLevel(*in.Level)
			return call.Reply(nil)
		},
		"GetLogLevel": func(_ context.Context, call *Call) error {
			return call.Reply(map[string]int{"level": ctl.LogLevel()})
		},
		"GetEnvironment": func(_ context.Context, call *Call) error {
			if !ownerOrRoot(call.Peer()) {
				return PermissionDenied()
			}
			return call.Reply(map[string][]string{"environment": ctl.Environ()})
		},
	})
}

func ownerOrRoot(p Peer) bool { return p.UID == 0 || p.UID == uint32(os.Getuid()) }

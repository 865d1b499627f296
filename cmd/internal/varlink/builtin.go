package varlink

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed org.varlink.service.varlink
var serviceDescription string

//go:embed io.systemd.varlink
var systemDescription string

// addBuiltin registers what every server has.
func (s *Server) addBuiltin() {
	err := s.Handle(serviceDescription, map[string]Handler{
		"GetInfo":                 s.getInfo,
		"GetInterfaceDescription": s.getInterfaceDescription,
	})
	if err == nil {
		err = s.Handle(systemDescription, nil)
	}
	if err != nil {
		panic(fmt.Sprintf("embedded interface description: %v", err))
	}
}

func (s *Server) getInfo(_ context.Context, call *Call) error {
	return call.Reply(struct {
		Info
		Interfaces []string `json:"interfaces"`
	}{s.info, s.Interfaces()})
}

func (s *Server) getInterfaceDescription(_ context.Context, call *Call) error {
	var in struct{ Interface string }
	if err := call.Parameters(&in); err != nil {
		return err
	}
	svc := s.interfaces[in.Interface]
	if svc == nil {
		return &Error{Name: ErrorInterfaceNotFound, Parameters: map[string]string{"interface": in.Interface}}
	}
	return call.Reply(map[string]string{"description": svc.Text})
}

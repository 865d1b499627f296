package machined

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func validRegistration() Registration {
	return Registration{Name: "foo", Class: ClassContainer, Service: "systemd-nspawn", RootDirectory: "/srv/foo"}
}

func TestRegistrationIsValidated(t *testing.T) {
	if err := validRegistration().validate(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Registration){
		"no class":            func(r *Registration) { r.Class = "" },
		"class host":          func(r *Registration) { r.Class = ClassHost },
		"other class":         func(r *Registration) { r.Class = "jail" },
		"init as leader":      func(r *Registration) { r.Leader.PID = 1 },
		"negative leader":     func(r *Registration) { r.Leader.PID = -1 },
		"relative root":       func(r *Registration) { r.RootDirectory = "srv" },
		"newline in root":     func(r *Registration) { r.RootDirectory = "/a\nLEADER=1" },
		"NUL in service":      func(r *Registration) { r.Service = "a\x00" },
		"bad UTF-8":           func(r *Registration) { r.SSHAddress = "\xff" },
		"long key path":       func(r *Registration) { r.SSHPrivateKeyPath = "/" + strings.Repeat("x", maxText) },
		"control address":     func(r *Registration) { r.ControlAddress = "a\rb" },
		"interface 0":         func(r *Registration) { r.NetworkInterfaces = []int{2, 0} },
		"negative interface":  func(r *Registration) { r.NetworkInterfaces = []int{-1} },
		"too many interfaces": func(r *Registration) { r.NetworkInterfaces = make([]int, maxInterfaces+1) },
		"CID of the host":     func(r *Registration) { r.VSockCID = 2 },
	} {
		r := validRegistration()
		change(&r)
		if err := r.validate(); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%s: %v, want ErrInvalidArgument", what, err)
		}
	}
	bad := validRegistration()
	bad.Name = HostName
	if err := bad.validate(); !errors.Is(err, ErrInvalidName) {
		t.Errorf("name .host: %v, want ErrInvalidName", err)
	}
}

func TestRegistrationWithoutCIDMeansAny(t *testing.T) {
	r := validRegistration()
	r.NetworkInterfaces = []int{4}
	m := r.machine(7)
	if m.VSockCID != AnyCID || m.UID != 7 {
		t.Errorf("CID %d, owner %d", m.VSockCID, m.UID)
	}
	if r.NetworkInterfaces[0] = 5; m.NetworkInterfaces[0] != 4 {
		t.Error("the machine shares the caller's slice")
	}
}

func TestCallerPrivileged(t *testing.T) {
	if !(Caller{UID: 0}).Privileged() || !(Caller{UID: uint32(os.Geteuid())}).Privileged() || (Caller{UID: 4711}).Privileged() {
		t.Error("privileged must be root and the daemon's user only")
	}
}

package polkit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/polkit"
	"berth/fixtures/privatebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority stands in for polkitd, which is not there on most test machines
// and would want a system bus. Of its contract it keeps: the types of
// CheckAuthorization and its answer, the kinds of subject, that a challenge is
// answered when interaction is not allowed, and cancelling by id.
type authority struct {
	asked     chan string
	cancelled chan string
	waiting   chan string
}

type kind struct {
	Kind    string
	Details map[string]dbus.Variant
}

type verdict struct {
	Authorized, Challenge bool
	Details               map[string]string
}

func (a *authority) check(ctx context.Context, _ *bus.Call, who kind, action string, details map[string]string, flags uint32, id string) (verdict, error) {
	text := who.Kind
	if fd, ok := who.Details["pidfd"].Value().(dbus.UnixFD); ok {
		alive := unix.PidfdSendSignal(int(fd), 0, nil, 0) == nil
		text += fmt.Sprintf(" pidfd %v uid %v start %v", alive, who.Details["uid"].Value(), who.Details["start-time"].Signature())
	} else {
		text += fmt.Sprint(" ", who.Details["name"].Value())
	}
	a.asked <- fmt.Sprint(text, " ", details, " ", flags)
	switch action {
	case "yes":
		return verdict{Authorized: true, Details: map[string]string{}}, nil
	case "admin":
		return verdict{Authorized: true, Details: map[string]string{"polkit.result": "auth_admin_keep"}}, nil
	case "ask":
		return verdict{Authorized: flags == 1, Challenge: flags == 0, Details: map[string]string{}}, nil
	case "wait":
		a.waiting <- id
		<-ctx.Done()
	}
	return verdict{Details: map[string]string{}}, nil
}

func startAuthority(t *testing.T, address string) *authority {
	t.Helper()
	a := &authority{asked: make(chan string, 10), cancelled: make(chan string, 1), waiting: make(chan string, 1)}
	in := &bus.Interface{Name: "org.freedesktop.PolicyKit1.Authority", Methods: []bus.Method{
		{
			Name: "CheckAuthorization", Out: bus.Args("result (bba{ss})"), Func: a.check,
			In: bus.Args("subject (sa{sv}), action_id s, details a{ss}, flags u, cancellation_id s"),
		},
		{
			Name: "CancelCheckAuthorization", In: bus.Args("cancellation_id s"),
			Func: func(_ context.Context, _ *bus.Call, id string) error {
				a.cancelled <- id
				return nil
			},
		},
	}}
	if err := in.Check(); err != nil {
		t.Fatal(err)
	}
	tree := new(bus.Tree)
	tree.Add("/org/freedesktop/PolicyKit1/Authority", &bus.Object{Interfaces: []*bus.Interface{in}})
	connected := make(chan struct{}, 1)
	s := bus.New(bus.Config{
		Address: address, Name: "org.freedesktop.PolicyKit1", Tree: tree,
		Connected: func(*dbus.Conn) { connected <- struct{}{} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-connected
	return a
}

func connect(t *testing.T, address string) func() *dbus.Conn {
	t.Helper()
	c, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func() *dbus.Conn { return c }
}

func TestAuthority(t *testing.T) {
	peer := process(t, 65533, 1)
	overBus := polkit.Subject{UID: 65533, BusName: ":1.77"}
	unknown := polkit.Subject{UID: 65533, PID: peer.PID}
	address := privatebus.Start(t)
	fake := startAuthority(t, address)
	asks := polkit.Authority{Conn: connect(t, address), Local: polkit.Local{Group: polkit.NoGroup}}
	const process = "unix-process pidfd true uid 65533 start t"
	for _, tt := range []struct {
		who         polkit.Subject
		action      string
		interactive bool
		err         error
		asked       string
	}{
		{peer, "yes", false, nil, process + " map[verb:kill] 0"},
		{overBus, "yes", false, nil, "system-bus-name :1.77 map[verb:kill] 0"},
		{peer, "no", true, polkit.ErrDenied, process + " map[verb:kill] 1"},
		{peer, "ask", false, polkit.ErrInteractive, process + " map[verb:kill] 0"},
		{overBus, "ask", true, nil, "system-bus-name :1.77 map[verb:kill] 1"},
		{unknown, "yes", false, polkit.ErrDenied, ""},
		{polkit.Subject{UID: 0}, "no", false, nil, ""},
	} {
		err := asks.Check(t.Context(), tt.who, tt.action, map[string]string{"verb": "kill"}, tt.interactive)
		if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%s for %+v: %v, want %v", tt.action, tt.who, err, tt.err)
		}
		asked := ""
		if len(fake.asked) > 0 {
			asked = <-fake.asked
		}
		if asked != tt.asked {
			t.Errorf("polkit was asked %q, want %q", asked, tt.asked)
		}
	}
	for action, admin := range map[string]bool{"yes": false, "admin": true} {
		if r, err := asks.Ask(t.Context(), overBus, action, nil, false); err != nil || r.Administrator != admin {
			t.Errorf("%s: %+v, %v", action, r, err)
		}
	}
}

func TestQuestionEndsWithItsContext(t *testing.T) {
	address := privatebus.Start(t)
	fake := startAuthority(t, address)
	asks := polkit.Authority{Conn: connect(t, address)}
	ctx, cancel := context.WithCancel(t.Context())
	var id string
	go func() {
		id = <-fake.waiting
		cancel()
	}()
	err := asks.Check(ctx, polkit.Subject{UID: 65533, BusName: ":1.77"}, "wait", nil, true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := <-fake.cancelled; got == "" || got != id {
		t.Errorf("cancelled question %q, want %q", got, id)
	}
}

func TestWithoutPolkitLocalDecides(t *testing.T) {
	member := process(t, 65533, 4711)
	address := privatebus.Start(t)
	for name, conn := range map[string]func() *dbus.Conn{
		"no polkit": connect(t, address),
		"no bus":    func() *dbus.Conn { return nil },
	} {
		if err := (polkit.Authority{Conn: conn, Local: polkit.Local{Group: 4711}}).Check(t.Context(), member, "any", nil, false); err != nil {
			t.Errorf("%s, member: %v", name, err)
		}
		err := polkit.Authority{Conn: conn, Local: polkit.Local{Group: 4712}}.Check(t.Context(), member, "any", nil, false)
		if !errors.Is(err, polkit.ErrDenied) {
			t.Errorf("%s, stranger: %v", name, err)
		}
	}
}

package systemd

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/machined"
	"berth/machined/units/unitstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformanceOfTheRealOne makes units, so it only does so where it is told
// that the host is there for that.
func TestConformanceOfTheRealOne(t *testing.T) {
	if os.Getenv("BERTH_TEST_HOST") == "" {
		t.Skip("NOT TESTED: needs to run inside a test host, see TestOnAHost")
	}
	unitstest.Run(t, func(t *testing.T) machined.Units {
		b, err := New(t.Context(), Options{Address: "unix:path=/run/dbus/system_bus_socket"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			// The next one would adopt what the service manager has not seen end.
			await(t, "the end of all units", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.byName) == 0
			})
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return b
	})
}

// await waits until something has happened.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

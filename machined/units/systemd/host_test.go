package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/fixtures/await"
	"berth/fixtures/testhost"
	"berth/fixtures/testhost/hosttest"
	"berth/machined"
	"berth/machined/units/unitstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside says that the test runs as a unit of a test host, where it may make
// units.
const inside = "BERTH_INSIDE_TEST_HOST"

// TestOnAHost runs the suite against the service managers of two releases.
func TestOnAHost(t *testing.T) {
	for _, suite := range []testhost.Suite{testhost.Sid, testhost.Trixie} {
		t.Run(string(suite), func(t *testing.T) {
			h := hosttest.Boot(t, suite)
			program := h.Path("/var/tmp/systemd.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, ".")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := h.Unit(t.Context(), "env", inside+"=1", "/var/tmp/"+filepath.Base(program),
				"-test.v", "-test.run=^TestRealServiceManager$").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestRealServiceManager/FollowItsOwn") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestRealServiceManager(t *testing.T) {
	if os.Getenv(inside) == "" {
		t.Skip("NOT TESTED here: TestOnAHost runs it in a test host")
	}
	open := func(t *testing.T) *Backend {
		b := open(t, "unix:path=/run/dbus/system_bus_socket")
		// The next one would adopt what the service manager has not seen end.
		t.Cleanup(func() {
			await.Until(t, time.Minute, "the end of all units", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.byName) == 0
			})
		})
		return b
	}
	unitstest.Run(t, func(t *testing.T) machined.Units { return open(t) })
	unitstest.RunFollow(t, func(t *testing.T) (machined.Units, unitstest.Join) {
		b := open(t)
		return b, b.joinForTest
	})
}

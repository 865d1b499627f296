package unitstest

import (
	"testing"

	"go.uber.org/goleak"

	"berth/machined"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	Run(t, func(t *testing.T) machined.Units { return open(t) })
	RunFollow(t, func(t *testing.T) (machined.Units, Join) {
		fake := open(t)
		return fake, func(t *testing.T, unit string, p *machined.Process) {
			if err := fake.Join(unit, p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func open(t *testing.T) *Fake {
	t.Helper()
	fake, err := NewFake()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fake.Close(); err != nil {
			t.Error(err)
		}
	})
	return fake
}

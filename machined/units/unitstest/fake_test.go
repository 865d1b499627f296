package unitstest

import (
	"testing"

	"go.uber.org/goleak"

	"berth/machined"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	Run(t, func(t *testing.T) machined.Units {
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
	})
}

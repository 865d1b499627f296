package importapi

import (
	"testing"
	"testing/synctest"

	"berth/cmd/internal/bus"
)

func TestDeclarationsFitTheirHandlers(t *testing.T) {
	b := &Bus{}
	for _, in := range []*bus.Interface{b.manager(), b.transfer(nil)} {
		if err := in.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestEndIsToldAfterTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrder()
		var started, ended, other bool
		mine, unknown := o.enter(), o.enter()
		go func() {
			o.started(mine, 7)
			started = true
		}()
		go func() {
			o.awaitReply(7)
			ended = true
		}()
		go func() {
			o.awaitReply(8)
			other = true
		}()
		synctest.Wait()
		if started || ended || other {
			t.Fatalf("before TransferNew: started %v, ended %v, other ended %v", started, ended, other)
		}
		o.told(7)
		synctest.Wait()
		if !started || ended || other {
			t.Fatalf("before the reply: started %v, ended %v, other ended %v", started, ended, other)
		}
		o.leave(unknown)
		synctest.Wait()
		if ended || !other {
			t.Fatalf("while only 7 has no reply: ended %v, other ended %v", ended, other)
		}
		o.leave(mine)
		synctest.Wait()
		if !ended {
			t.Error("the end is not told after the reply")
		}
	})
}

func TestNobodyWaitsForSignalsThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		o := newOrder()
		s := o.enter()
		go o.started(s, 1)
		go o.awaitReply(1)
		synctest.Wait()
		o.end()
	})
}

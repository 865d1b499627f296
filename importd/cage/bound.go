package cage

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Bound calls start on a thread of its own, so that a process that is started
// there has no other capabilities than keep in its bounding set. [Enter] finds
// less to drop in it then, which takes all threads of the process to agree for
// each capability: on a busy host that costs more than a small transfer. Who may
// not drop capabilities starts the process as it is.
func Bound(keep []cap.Value, start func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// It is never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if err = boundThread(keep); err == nil {
			err = start()
		}
	}()
	<-done
	return err
}

func boundThread(keep []cap.Value) error {
	for v := range cap.MaxBits() {
		if slices.Contains(keep, v) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(v), 0, 0, 0)
		if errors.Is(err, unix.EPERM) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", v, err)
		}
	}
	return nil
}

package machined

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// actAsRunner is what this test binary does instead of tests when a test starts
// it as the runner of a machine. The guest is the script "init" in the image,
// process 1 of a PID namespace of its own. The result is the exit status.
func actAsRunner(mode string, args []string) int {
	switch mode {
	case "boot":
		return runGuest(args[0])
	case "fail":
		fmt.Print("first \x1b[31mline\x1b[0m\n\nlast line\n")
		return 1
	case "hang":
		if err := os.WriteFile(filepath.Join(args[0], "pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			fmt.Println(err)
		}
		fmt.Println("hanging")
		waitForTerm()
		return 0
	case "forge":
		// Another process than the runner names a leader.
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = []string{"BERTH_TEST_RUNNER=forged", "NOTIFY_SOCKET=" + os.Getenv("NOTIFY_SOCKET")}
		if err := cmd.Run(); err != nil {
			fmt.Println(err)
		}
		return 3
	case "forged":
		if err := notify(fmt.Sprintf("X_NSPAWN_LEADER_PID=%d\nREADY=1", os.Getppid())); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
	return 2
}

func waitForTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
}

func runGuest(tree string) int {
	cmd := exec.Command("/bin/sh", filepath.Join(tree, "init"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		waitForTerm()
		_ = cmd.Process.Signal(syscall.SIGUSR2)
	}()
	// As with sd_notify, it is no error if the daemon has gone meanwhile.
	_ = notify(fmt.Sprintf("STATUS=up\nX_NSPAWN_LEADER_PID=%d", cmd.Process.Pid), "READY=1")
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func notify(messages ...string) error {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	for _, message := range messages {
		if _, err := strings.NewReader(message).WriteTo(conn); err != nil {
			return err
		}
	}
	return conn.Close()
}

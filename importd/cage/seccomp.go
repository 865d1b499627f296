package cage

import (
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// foreverRefused are calls no worker needs: they change namespaces, mounts,
// the kernel or other processes.
var foreverRefused = []string{
	"acct", "add_key", "bpf", "delete_module", "finit_module", "fsmount", "fsopen",
	"init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl",
	"mount", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open",
	"pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl",
	"reboot", "request_key", "setns", "swapoff", "swapon", "umount2", "unshare",
	"userfaultfd",
}

// filterCalls installs a seccomp filter on all threads. Refused calls fail with
// EPERM rather than kill: a library that probes for one goes on without it.
// Without network only AF_UNIX sockets can be made, which lead nowhere once
// Landlock hides the file system and the network namespace is empty.
func filterCalls(network bool) error {
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionErrno, Names: foreverRefused},
		},
	}
	if !network {
		policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{
			Action: seccomp.ActionErrno,
			NamesWithCondtions: []seccomp.NameWithConditions{{
				Name: "socket",
				Conditions: []seccomp.Condition{{
					Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_UNIX,
				}},
			}},
		})
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy:     policy,
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("install the seccomp filter: %w", err)
	}
	return nil
}

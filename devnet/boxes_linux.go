package devnet

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// killJobs ends the jobs of a provider's home: its WebAssembly workers, and its
// containers with who stands over them. They are made to outlive the provider's process, which a machine without
// power does not let them.
func killJobs(home string) {
	for _, pid := range supervisors(home) {
		inside := children(pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for _, c := range inside { // the first process of a container takes the others along
			_ = syscall.Kill(c, syscall.SIGKILL)
		}
	}
}

// supervisors are the processes that log into a task's folder below home.
func supervisors(home string) (pids []int) {
	logs, err := filepath.Glob("/proc/[0-9]*/fd/2")
	if err != nil {
		return nil
	}
	for _, fd := range logs {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, home+"/") {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if pid, e := strconv.Atoi(filepath.Base(dir)); err == nil && e == nil && strings.TrimSpace(string(comm)) == "moyai-worker" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func children(pid int) (pids []int) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, path := range threads {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(raw)) {
			if c, err := strconv.Atoi(f); err == nil {
				pids = append(pids, c)
			}
		}
	}
	return pids
}

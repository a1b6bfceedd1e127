//go:build !linux && !windows && !darwin

package wasm

import (
	"os"
	"os/exec"
	"time"
)

func detach(*exec.Cmd) {}

// findOrphan never claims a process it cannot identify for certain; a task whose
// runtime died is judged by the Final its worker left.
func findOrphan(*state) process { return absent{} }

func usageOf(int) (cpu time.Duration, peak uint64) { return 0, 0 }

func peakOf(*os.ProcessState) uint64 { return 0 }

// Package walls is what every container here is kept from, whatever engine makes it.
// It enforces nothing: engines are told.
package walls

// Masked and ReadOnly are the parts of /proc and /sys that are the host's own, as
// container engines hide them (moby's and containerd's lists together).
var (
	Masked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf",
	}
	ReadOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// OOMScore makes the kernel end a container before a program of the owner's.
const OOMScore = 500

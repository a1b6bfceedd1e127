// Package machine finds out what this machine has: processors, memory, disk,
// network links and GPUs of any vendor, as far as this process may use them: a
// container's limits count, not the host's hardware.
//
// Looking has no side effect: nothing is written, started or kept open. Every
// source is injected (a root folder for /proc and /sys, an interface for
// NVIDIA's library), every read is bounded, and what a source does not tell is
// left zero and never guessed.
//
// It decides neither what is lent (provider.Lend) nor what can be enforced
// (provider/probe), and knows no money.
package machine

import (
	"context"
	"time"
)

// Machine is what was found.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    CPU    `json:"cpu"`
	Memory Memory `json:"memory"`
	Disk   Disk   `json:"disk"`
	Links  []Link `json:"links"`
	GPUs   []GPU  `json:"gpus"`
	// NVML is how asking NVIDIA's driver went.
	NVML NVMLAnswer `json:"nvml"`
}

// CPU is the processor.
type CPU struct {
	Model    string   `json:"model"`
	Online   int      `json:"online"`  // hardware threads of the machine
	Allowed  int      `json:"allowed"` // of these, the ones this process may run on
	Milli    uint64   `json:"milli"`   // thousandths of a core that can be used at once
	Limit    string   `json:"limit,omitempty"`
	Features []string `json:"features"` // the ones that programs are built for
}

// Memory is the machine's, in bytes.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"` // without swapping, within every limit
	Limit     uint64 `json:"limit,omitempty"`
}

// Disk is the file system that holds a folder.
type Disk struct {
	Path string `json:"path"` // the folder, or the nearest one above it that is there
	Size uint64 `json:"size"`
	Free uint64 `json:"free"`
	// FileSystem is its type, such as ext4; Kind is "ssd", "hdd" or empty.
	FileSystem string `json:"file_system,omitempty"`
	Kind       string `json:"kind,omitempty"`
}

// Link is a network interface that stands for hardware.
type Link struct {
	Name  string `json:"name"`
	Up    bool   `json:"up"`
	Wifi  bool   `json:"wifi,omitempty"`
	Mbits uint64 `json:"mbits,omitempty"` // 0: not known
}

// Sources are where Discover looks.
type Sources struct {
	// Root holds proc, sys and usr.
	Root string
	// NVML is NVIDIA's driver, nil if there is no way to ask it.
	NVML NVML
	// Volume tells about the file system of a folder that exists.
	Volume func(path string) (Volume, error)
	// System tells the processor's model and the memory where there is no proc; nil
	// where there is.
	System func() (model string, m Memory)
}

// Volume is what the operating system says of one file system.
type Volume struct {
	Size, Free   uint64
	Major, Minor uint32
}

// Host is this machine.
func Host() Sources { return Sources{Root: "/", NVML: library(""), Volume: volume, System: system} }

// nvmlPatience is how long a driver may take that has to wake its cards first.
// Everything else takes milliseconds.
const nvmlPatience = 5 * time.Second

// Discover looks at everything. home is the folder whose disk matters; it need
// not exist. There is no error: what cannot be found is missing from the result,
// and only ctx cuts it short.
func Discover(ctx context.Context, s Sources, home string) Machine {
	t := tree(s.Root)
	groups := t.cgroups()
	m := Machine{OS: goos, Arch: goarch, Disk: t.disk(s, home), Links: append([]Link{}, t.links()...)}
	m.Memory = t.memory(groups)
	m.CPU = t.cpu(groups)
	if s.System != nil {
		var model string
		if model, m.Memory = s.System(); model != "" {
			m.CPU.Model = model
		}
	}
	cards := t.cards()
	m.NVML = ask(ctx, s.NVML, nvmlPatience)
	m.GPUs = append([]GPU{}, merge(cards, m.NVML)...) // none is an empty list
	return m
}

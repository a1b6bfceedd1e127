package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// told is NVML as a file of a test machine tells it.
type told struct {
	Driver
	err  error
	hang chan struct{}
}

func (t told) Use() ([]uint, error) { return nil, t.err }

func (t told) Read() (Driver, error) {
	if t.hang != nil {
		<-t.hang
	}
	return t.Driver, t.err
}

// unpack lays a machine of testdata out as files: bus ids hold colons, which
// file names of a Go module must not.
func unpack(t *testing.T, name string) Sources {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s := Sources{Root: root, NVML: told{err: fmt.Errorf("%w: libnvidia-ml.so.1 is not installed", ErrNoNVML)}}
	for _, f := range a.Files {
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if f.Name == "nvml.json" {
			var d Driver
			if err := json.Unmarshal(f.Data, &d); err != nil {
				t.Fatal(err)
			}
			s.NVML = told{Driver: d}
		}
	}
	s.Volume = func(string) (Volume, error) { return Volume{500 << 30, 200 << 30, 259, 2}, nil }
	return s
}

func look(t *testing.T, s Sources) Machine {
	t.Helper()
	return Discover(t.Context(), s, filepath.Join(s.Root, "home", "not", "there"))
}

func TestLaptop(t *testing.T) {
	m := look(t, unpack(t, "laptop"))
	if c := m.CPU; c.Model != "12th Gen Intel(R) Core(TM) i7-1260P" || c.Milli != 16000 || c.Limit != "" ||
		!slices.Equal(c.Features, []string{"sse4_2", "avx", "avx2", "avx_vnni", "aes", "sha_ni"}) {
		t.Errorf("cpu %+v", c)
	}
	if m.Memory != (Memory{Total: 16173452 << 10, Available: 11534336 << 10}) {
		t.Errorf("memory %+v", m.Memory)
	}
	if d := m.Disk; d.Size != 500<<30 || d.Free != 200<<30 || d.FileSystem != "ext4" || d.Kind != "ssd" || strings.Contains(d.Path, "home") {
		t.Errorf("disk %+v", d)
	}
	if want := []Link{{Name: "enp0s31f6"}, {Name: "wlp0s20f3", Up: true, Wifi: true}}; !reflect.DeepEqual(m.Links, want) {
		t.Errorf("links %+v", m.Links)
	}
	want := GPU{PCI: "0000:00:02.0", IDs: "8086:46a6", Vendor: "Intel", Model: "Alder Lake-P graphics", Use: UseCompute, Driver: "i915"}
	if len(m.GPUs) != 1 || !reflect.DeepEqual(m.GPUs[0], want) {
		t.Errorf("gpus %+v", m.GPUs)
	}
	if !m.NVML.Absent || m.NVML.Driver != nil {
		t.Errorf("nvml %+v", m.NVML)
	}
}

func TestGamingPC(t *testing.T) {
	m := look(t, unpack(t, "gaming"))
	want := GPU{
		PCI: "0000:01:00.0", IDs: "10de:2684", Vendor: "NVIDIA", Model: "GeForce RTX 4090", Use: UseCompute, Driver: "nvidia",
		DriverVersion: "550.54.15", MemoryBytes: 25757220864, UUID: "GPU-5d6", Capability: "8.9", Link: "PCIe 4.0 x16",
	}
	if len(m.GPUs) != 1 || !reflect.DeepEqual(m.GPUs[0], want) {
		t.Errorf("gpus %+v", m.GPUs)
	}
	if len(m.Links) != 1 || m.Links[0].Mbits != 2500 {
		t.Errorf("links %+v", m.Links)
	}
}

// What the bus tells is enough for a card to be seen, whatever its driver does.
func TestCardIsListedThoughItsDriverSleeps(t *testing.T) {
	s := unpack(t, "gaming")
	release := make(chan struct{})
	defer close(release)
	a := ask(t.Context(), told{hang: release}, time.Millisecond)
	if a.Driver != nil || a.Absent || !strings.Contains(a.Error, "did not answer") {
		t.Fatalf("answer %+v", a)
	}
	got := merge(tree(s.Root).cards(), a)
	if len(got) != 1 || got[0].Model != "GeForce RTX 4090" || got[0].Link != "PCIe 4.0 x16" || !strings.Contains(got[0].Problem, "did not answer") || got[0].Fix == "" {
		t.Errorf("gpus %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := ask(ctx, told{hang: release}, time.Hour); a.Error == "" {
		t.Errorf("asked on after the end: %+v", a)
	}
}

func TestUnknownVendor(t *testing.T) {
	m := look(t, unpack(t, "unknown"))
	want := []GPU{
		{
			PCI: "0000:03:00.0", IDs: "beef:0001", Vendor: "vendor beef", Model: "device 0001", Use: UseCompute,
			Problem: "no driver holds the card", Fix: "install its vendor's driver and restart",
		},
		{PCI: "0000:04:00.0", IDs: "1e52:401e", Vendor: "Tenstorrent", Model: "Wormhole n300", Use: UseCompute, Driver: "tenstorrent", Link: "PCIe 4.0 x8"},
	}
	if !reflect.DeepEqual(m.GPUs, want) {
		t.Errorf("gpus %+v", m.GPUs)
	}
}

func TestCardsThatCannotCompute(t *testing.T) {
	s := unpack(t, "nodriver")
	problems := func(nvml NVML) []string {
		s.NVML = nvml
		var out []string
		for _, g := range look(t, s).GPUs {
			if g.Problem != "" && g.Fix == "" {
				t.Errorf("%s: a problem without a fix: %s", g.PCI, g.Problem)
			}
			out = append(out, g.Problem)
		}
		return out
	}
	check := func(nvml NVML, last string) {
		t.Helper()
		got := problems(nvml)
		for i, want := range []string{"nouveau shows pictures", "no driver holds", "virtual machines (vfio-pci)", last} {
			if i >= len(got) || !strings.Contains(got[i], want) {
				t.Errorf("problems %q, want %q at %d", got, want, i)
			}
		}
	}
	check(s.NVML, "libnvidia-ml.so.1 is not installed")
	check(told{err: errors.New("Driver/library version mismatch")}, "version mismatch")
	check(told{Driver: Driver{Version: "1"}}, "does not list it")
	if g := look(t, s).GPUs[2]; g.MemoryBytes != 25753026560 || g.Model != "Radeon RX 7900 XT/7900 XTX" {
		t.Errorf("radeon %+v", g)
	}
}

// Under WSL the driver answers and the bus is empty.
func TestCardsThatOnlyTheDriverKnows(t *testing.T) {
	s := unpack(t, "bare")
	if m := look(t, s); len(m.GPUs) != 0 || !m.NVML.Absent {
		t.Errorf("no GPU: %+v, %+v", m.GPUs, m.NVML)
	}
	s.NVML = told{Driver: Driver{Version: "555", Cards: []Card{{PCI: "00000000:0A:00.0", Model: "NVIDIA GeForce RTX 3060", MemoryBytes: 12 << 30}}}}
	m := look(t, s)
	if len(m.GPUs) != 1 || m.GPUs[0].Model != "GeForce RTX 3060" || m.GPUs[0].PCI != "0000:0a:00.0" || m.GPUs[0].Problem != "" {
		t.Errorf("gpus %+v", m.GPUs)
	}
}

func TestControlGroupLimits(t *testing.T) {
	for name, want := range map[string]struct {
		milli  uint64
		memory Memory
	}{
		"cgroup2": {1500, Memory{Total: 32000000 << 10, Limit: 2 << 30, Available: 3 << 29}},
		"cgroup1": {2500, Memory{Total: 32000000 << 10, Limit: 1 << 30, Available: 1<<30 - 1<<28}},
	} {
		m := look(t, unpack(t, name))
		if m.CPU.Milli != want.milli || m.CPU.Limit == "" {
			t.Errorf("%s: cpu %+v, want %d", name, m.CPU, want.milli)
		}
		if m.Memory != want.memory {
			t.Errorf("%s: memory %+v, want %+v", name, m.Memory, want.memory)
		}
	}
	// Without the quota, the processors this process may run on count.
	s := unpack(t, "cgroup2")
	for _, f := range []string{"sys/fs/cgroup/pod/box/cpu.max", "sys/fs/cgroup/pod/cpu.max"} {
		if err := os.Remove(filepath.Join(s.Root, f)); err != nil {
			t.Fatal(err)
		}
	}
	if c := look(t, s).CPU; c.Milli != 4000 || c.Limit != "this process may run on 4 of 8" {
		t.Errorf("cpu %+v", c)
	}
}

func TestARM(t *testing.T) {
	m := look(t, unpack(t, "arm"))
	if m.CPU.Model != "Arm Cortex-A76 (Raspberry Pi 5 Model B Rev 1.0)" || m.CPU.Milli != 4000 || !slices.Equal(m.CPU.Features, []string{"aes", "asimd", "asimddp", "sha2"}) {
		t.Errorf("cpu %+v", m.CPU)
	}
	if len(m.GPUs) != 0 || len(m.Links) != 2 || m.Links[0].Mbits != 1000 {
		t.Errorf("gpus %+v, links %+v", m.GPUs, m.Links)
	}
}

// A machine that tells nothing yields nothing, and neither fails nor guesses.
func TestNothingToReadIsNoGuess(t *testing.T) {
	m := look(t, Sources{Root: t.TempDir()})
	if m.Memory != (Memory{}) || len(m.GPUs)+len(m.Links) != 0 || m.Disk.Size != 0 || m.CPU.Milli == 0 {
		t.Errorf("machine %+v", m)
	}
}

// Files are as long as the kernel makes them, or longer: the bound holds.
func TestReadsAreBounded(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "long"), make([]byte, 3*smallFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := len(tree(root).read("long", smallFile)); n != smallFile {
		t.Errorf("read %d bytes", n)
	}
}

// This machine, whatever it is, has a processor, memory and a disk.
func TestThisMachine(t *testing.T) {
	if goos != "linux" {
		t.Skip("only Linux is read so far")
	}
	m := Discover(t.Context(), Host(), t.TempDir())
	if m.CPU.Milli == 0 || m.Memory.Available == 0 || m.Memory.Available > m.Memory.Total || m.Disk.Size < m.Disk.Free || m.Disk.Size == 0 {
		t.Errorf("machine %+v", m)
	}
	t.Logf("%+v", m)
}

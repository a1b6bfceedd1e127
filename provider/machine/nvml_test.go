//go:build cgo && linux

package machine

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// libraryVariable tells this test's own program to read one library and to say
// what it heard.
const (
	libraryVariable = "MOYAI_TEST_NVML"
	useVariable     = "MOYAI_TEST_NVML_USE" // it is to say how busy the cards are
)

func TestMain(m *testing.M) {
	if path := os.Getenv(libraryVariable); path != "" {
		var heard any
		var err error
		if os.Getenv(useVariable) != "" {
			heard, err = library(path).Use()
		} else {
			heard, err = library(path).Read()
		}
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(heard)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// elsewhere reads a library in a process of its own: a process keeps the
// functions of the first one it loaded.
type elsewhere struct{ path string }

func (e elsewhere) Read() (d Driver, err error) {
	err = e.hear(&d)
	return d, err
}

func (e elsewhere) Use() (shares []uint, err error) {
	err = e.hear(&shares, useVariable+"=1")
	return shares, err
}

func (e elsewhere) hear(into any, env ...string) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), libraryVariable+"="+e.path), env...)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return errors.New(string(exit.Stderr))
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// build makes a libnvidia-ml.so.1 with the cards given, for the real binding to
// load.
func build(t *testing.T, defines ...string) NVML {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler to build a library with: install gcc")
	}
	path := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	args := []string{"-shared", "-fPIC", "-o", path, filepath.Join("testdata", "nvml.c")}
	if out, err := exec.CommandContext(t.Context(), cc, append(args, defines...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return elsewhere{path}
}

var h100 = []string{"-DMODEL=\"NVIDIA H100 80GB HBM3\"", "-DMEMORY=85520809984ULL", "-DCARDS=8", "-DSLICES=7", "-DNVLINKS=18", "-DMAJOR=9", "-DMINOR=0"}

func TestServerWithEightH100(t *testing.T) {
	s := unpack(t, "h100")
	s.NVML = build(t, h100...)
	m := look(t, s)
	if len(m.GPUs) != 9 || m.NVML.Driver == nil || m.NVML.Driver.CUDA != "12.4" {
		t.Fatalf("%d gpus, %+v", len(m.GPUs), m.NVML)
	}
	for i, g := range m.GPUs[:8] {
		if g.Model != "H100 80GB HBM3" || g.DriverVersion != "550.54.15" || g.MemoryBytes != 85520809984 || g.NVLinks != 18 ||
			g.Link != "PCIe 5.0 x16" || g.Capability != "9.0" || g.Problem != "" || g.IDs != "10de:2330" {
			t.Errorf("card %d: %+v", i, g)
		}
	}
	if g := m.GPUs[0]; g.MIG != "on" || len(g.Slices) != 7 || g.Slices[6] != (Slice{"MIG-00000000-6", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", 85520809984 / 8}) {
		t.Errorf("cut card %+v", g)
	}
	if g := m.GPUs[7]; g.MIG != "off" || len(g.Slices) != 0 || g.NUMA != "1" || g.UUID != "GPU-00000007" {
		t.Errorf("whole card %+v", g)
	}
	if g := m.GPUs[8]; g.Use != UseDisplay || g.Vendor != "ASPEED" || g.Problem != "" {
		t.Errorf("console %+v", g)
	}
}

func TestDriverInTrouble(t *testing.T) {
	s := unpack(t, "h100")
	s.NVML = build(t, append(h100, "-DLOSES=3")...)
	if g := look(t, s).GPUs[3]; !strings.Contains(g.Problem, "GPU is lost") || g.Fix == "" {
		t.Errorf("lost card %+v", g)
	}
	geforce := []string{"-DMODEL=\"NVIDIA GeForce RTX 4090\"", "-DMEMORY=25757220864ULL", "-DMAJOR=8", "-DMINOR=9"}
	if _, err := build(t, append(geforce, "-DINIT=9")...).Read(); err == nil || !strings.Contains(strings.ToLower(err.Error()), "not loaded") {
		t.Errorf("driver not loaded: %v", err)
	}
	// An old library lacks most functions: calling one would end the process.
	d, err := build(t, append(geforce, "-DOLD")...).Read()
	if err != nil || len(d.Cards) != 1 || d.Cards[0].Model != "NVIDIA GeForce RTX 4090" || d.Cards[0].MIG != "" {
		t.Errorf("old driver: %+v, %v", d, err)
	}
	if _, err := library(filepath.Join(t.TempDir(), "libnvidia-ml.so.1")).Read(); !errors.Is(err, ErrNoNVML) {
		t.Errorf("no library: %v", err)
	}
}

package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cdiDir describes devices by name, each with a device file of its own that is
// open, or closed if its name begins with "closed".
func cdiDir(t *testing.T, kind string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	var devices []string
	for i, name := range names {
		node := filepath.Join(dir, fmt.Sprint("node", i))
		mode := os.FileMode(0o666)
		if closed, ok := strings.CutPrefix(name, "closed"); ok {
			name, mode = closed, 0o660
		}
		if err := os.WriteFile(node, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(node, mode); err != nil {
			t.Fatal(err)
		}
		devices = append(devices, fmt.Sprintf(`{"name": %q, "containerEdits": {"deviceNodes": [{"path": %q}]}}`, name, node))
	}
	text := fmt.Sprintf(`{"cdiVersion": "0.6.0", "kind": %q, "devices": [%s]}`, kind, strings.Join(devices, ","))
	if err := os.WriteFile(filepath.Join(dir, "vendor.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDevices(t *testing.T) {
	card := func(change func(*GPU)) GPU {
		g := GPU{Vendor: "NVIDIA", Model: "RTX 4090", Use: UseCompute, UUID: "GPU-1", MemoryBytes: 24 << 30, Driver: "nvidia", DriverVersion: "550.54.15"}
		if change != nil {
			change(&g)
		}
		return g
	}
	second := card(func(g *GPU) { g.UUID = "GPU-2" })
	cut := card(func(g *GPU) {
		g.MIG, g.Slices = "on", []Slice{{"MIG-a", "NVIDIA H100 MIG 1g.10gb", 10 << 30}, {"MIG-b", "NVIDIA H100 MIG 1g.10gb", 10 << 30}}
	})
	amd := card(func(g *GPU) { g.Vendor, g.UUID = "AMD", "" })
	for name, tc := range map[string]struct {
		cards []GPU
		dir   string
		lend  string // names
		why   string // of the first that is not lent
	}{
		"none":           {nil, t.TempDir(), "", ""},
		"by uuid":        {[]GPU{card(nil), second}, cdiDir(t, "nvidia.com/gpu", "GPU-2", "GPU-1", "all"), "nvidia.com/gpu=GPU-1 nvidia.com/gpu=GPU-2", ""},
		"by number":      {[]GPU{card(nil), second}, cdiDir(t, "nvidia.com/gpu", "0", "1", "all"), "nvidia.com/gpu=0 nvidia.com/gpu=1", ""},
		"slices":         {[]GPU{cut}, cdiDir(t, "nvidia.com/gpu", "0:0", "MIG-b"), "nvidia.com/gpu=0:0 nvidia.com/gpu=MIG-b", ""},
		"not described":  {[]GPU{card(nil)}, t.TempDir(), "", "not described"},
		"closed":         {[]GPU{amd}, cdiDir(t, "amd.com/gpu", "closed0"), "", "closed to containers"},
		"amd":            {[]GPU{card(nil), amd}, cdiDir(t, "amd.com/gpu", "0"), "amd.com/gpu=0", "not described"},
		"has a problem":  {[]GPU{card(func(g *GPU) { g.Problem = "no driver" })}, cdiDir(t, "nvidia.com/gpu", "0"), "", ""},
		"for screens":    {[]GPU{card(func(g *GPU) { g.Use = UseDisplay })}, cdiDir(t, "nvidia.com/gpu", "0"), "", ""},
		"unknown vendor": {[]GPU{card(func(g *GPU) { g.Vendor = "Acme" })}, t.TempDir(), "", "no tool"},
	} {
		lend, not := Devices(tc.cards, tc.dir)
		var names []string
		for _, d := range lend {
			names = append(names, d.Name)
		}
		if got := strings.Join(names, " "); got != tc.lend {
			t.Errorf("%s: lends %q, want %q", name, got, tc.lend)
		}
		if (tc.why == "") != (len(not) == 0) || len(not) > 0 && !strings.Contains(not[0].Why, tc.why) {
			t.Errorf("%s: not lent %+v, want %q", name, not, tc.why)
		}
	}
	lend, _ := Devices([]GPU{cut}, cdiDir(t, "nvidia.com/gpu", "0:0", "0:1"))
	if len(lend) != 2 || !lend[0].Slice || lend[0].Model != "H100 MIG 1g.10gb" || lend[0].MemoryBytes != 10<<30 || lend[0].Driver != "nvidia 550.54.15" {
		t.Errorf("slices: %+v", lend)
	}
}

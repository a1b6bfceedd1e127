package devnet

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestStateSurvives(t *testing.T) {
	dir := t.TempDir()
	if s, err := loadState(dir); s != nil || err != nil {
		t.Fatalf("empty folder: %v, %v; want nothing", s, err)
	}
	cfg := Config{Dir: dir, Profile: LAN, Mode: InProcess, Providers: []ProviderSpec{{}, {Name: "bob", Prices: []string{"cpu=1MOY/h"}}}}
	cfg.ensureDefaults()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	want, err := newState(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Validators) != 4 || want.Providers[0].Name != "p1" || want.Providers[1].Name != "bob" {
		t.Errorf("planned %+v", want)
	}
	seen := map[int]bool{}
	for _, v := range want.Validators {
		for _, p := range []int{v.RPC, v.P2P, v.GRPC, v.REST} {
			if seen[p] {
				t.Errorf("port %d is used twice", p)
			}
			seen[p] = true
		}
	}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back %+v, wrote %+v", got, want)
	}

	// A further provider joins; those that were there keep their ports.
	cfg.Providers = append(cfg.Providers, ProviderSpec{Name: "carol"})
	if err := got.merge(cfg); err != nil {
		t.Fatal(err)
	}
	if len(got.Providers) != 3 || got.Providers[1].Port != want.Providers[1].Port {
		t.Errorf("after joining: %+v", got.Providers)
	}
}

func TestStateOfAnotherVersion(t *testing.T) {
	for _, text := range []string{"{", `{"version":99,"validators":[{}]}`, `{"version":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(dir); err == nil || !strings.Contains(err.Error(), "remove the folder") {
			t.Errorf("%s: got %v, want advice", text, err)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "needs a folder"},
		{Config{Dir: "x", Profile: "moon"}, "use dev or lan"},
		{Config{Dir: "x", Validators: 99}, "1 to 16"},
		{Config{Dir: "x", Mode: InProcess, Providers: []ProviderSpec{{Name: "a"}, {Name: "a"}}}, "two providers"},
		{Config{Dir: "x", Mode: InProcess, Providers: []ProviderSpec{{Name: "../a"}}}, "folder name"},
		{Config{Dir: "x"}, "needs the moyai executable"},
		{Config{Dir: "x", Binary: "/nowhere/moyai"}, "no such file"},
	} {
		tt.cfg.ensureDefaults()
		if err := tt.cfg.validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

func TestStatusKiB(t *testing.T) {
	status := []byte("Name:\tmoyai\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
	if now, peak := statusKiB(status, "VmRSS:"), statusKiB(status, "VmHWM:"); now != 1<<20 || peak != 2<<20 {
		t.Errorf("got %d and %d", now, peak)
	}
	if statusKiB(status, "VmSwap:") != 0 {
		t.Error("a missing line has a value")
	}
}

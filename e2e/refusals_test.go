package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client"
)

// tinyModule is the smallest module that imports one function and has an empty
// program.
func tinyModule(module, name string) string {
	str := func(s string) string { return string(rune(len(s))) + s }
	section := func(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }
	return "\x00asm\x01\x00\x00\x00" +
		section(1, "\x01\x60\x00\x00") + // one type: () → ()
		section(2, "\x01"+str(module)+str(name)+"\x00\x00") + // imports a function of it
		section(3, "\x01\x00") + // has one more
		section(5, "\x01\x00\x01") + // a memory of one page
		section(7, "\x02"+str("_start")+"\x00\x01"+str("memory")+"\x02\x00") + // exports both
		section(10, "\x01\x02\x00\x0b") // which does nothing
}

// refusal is a job that cannot be, and what a person is told.
type refusal struct {
	name string
	job  func(t *testing.T, x *tenant) client.Job
	is   error
	says []string // all of these
}

// TestRefusedJobs tries jobs that cannot run, one for each mistake people make.
// Nothing is bought: the account has not moved by one unit.
func TestRefusedJobs(t *testing.T) {
	n := network(t)
	module := func(content string) func(*testing.T, *tenant) client.Job {
		return func(t *testing.T, x *tenant) client.Job {
			job := x.job(t)
			job.Module = writeFile(t, filepath.Join(t.TempDir(), "module"), content)
			return job
		}
	}
	change := func(fn func(t *testing.T, j *client.Job)) func(*testing.T, *tenant) client.Job {
		return func(t *testing.T, x *tenant) client.Job {
			job := x.job(t, "say", "hello")
			fn(t, &job)
			return job
		}
	}
	for _, tc := range []refusal{
		{"not a wasm file", module("#!/bin/sh\necho hello\n"), client.ErrBadJob, []string{"not a WebAssembly file", "GOOS=wasip1"}},
		{"an empty file", module(""), client.ErrBadJob, []string{"not a WebAssembly file"}},
		{"a module that is cut off", module("\x00asm\x01\x00\x00\x00\x02"), client.ErrBadJob, []string{"module"}},
		{"an import that WASI lacks", module(tinyModule("wasi_snapshot_preview1", "fd_teleport")), client.ErrBadJob, []string{"fd_teleport"}},
		{"an import from elsewhere", module(tinyModule("env", "launch_missiles")), client.ErrBadJob, []string{"env", "launch_missiles"}},
		{"no such module", change(func(_ *testing.T, j *client.Job) { j.Module = "/nowhere/prog.wasm" }), client.ErrBadJob, []string{"/nowhere/prog.wasm"}},
		{"missing input", change(func(_ *testing.T, j *client.Job) { j.Inputs = []client.Input{{Name: "data", Path: "/nowhere/data"}} }), client.ErrBadJob, []string{"data", "/nowhere/data"}},
		{"an input that is a device", change(func(_ *testing.T, j *client.Job) { j.Inputs = []client.Input{{Name: "null", Path: os.DevNull}} }), client.ErrBadJob, []string{"null"}},
		{"output in a file", change(func(t *testing.T, j *client.Job) {
			j.Output = filepath.Join(writeFile(t, filepath.Join(t.TempDir(), "file"), "x"), "result")
		}), client.ErrOutput, []string{"result"}},
		{"output not writable", change(func(t *testing.T, j *client.Job) { j.Output = readOnly(t) }), client.ErrOutput, []string{"output folder"}},
		{"output not empty", change(func(t *testing.T, j *client.Job) {
			j.Output = t.TempDir()
			writeFile(t, filepath.Join(j.Output, "thesis.txt"), "years of work")
		}), client.ErrOutput, []string{"thesis.txt"}},
		{"no price", change(func(t *testing.T, j *client.Job) { j.MaxPrice = price(t, "1MOY/h"); j.MaxPrice.Denom = "" }), client.ErrBadJob, []string{"price"}},
		{"a ceiling below every bid", change(func(t *testing.T, j *client.Job) { j.MaxPrice = price(t, "0.001MOY/h") }), client.ErrTooDear, []string{"0.001 MOY/h", "0.018 MOY/h"}},
		{"a denomination nobody takes", change(func(_ *testing.T, j *client.Job) { j.MaxPrice.Denom = "uatom" }), nil, []string{"uatom"}},
		{"more memory than anybody has", change(func(_ *testing.T, j *client.Job) { j.MemoryBytes = 1 << 40 }), client.ErrNoBid, []string{"alice", "bob", "memory"}},
		{"more cores than anybody has", change(func(_ *testing.T, j *client.Job) { j.CPUMilli = 64_000 }), client.ErrNoBid, []string{"alice", "bob", "CPU"}},
		{"an attribute nobody has", change(func(_ *testing.T, j *client.Job) {
			j.Constraints = []client.Constraint{{Attribute: "gpu.model", Op: "=", Value: "h100"}}
		}), client.ErrNoBid, []string{"alice", "bob", "gpu.model"}},
		{"not enough balance", change(func(t *testing.T, j *client.Job) { j.Timeout = 400 * time.Hour }), client.ErrFunds, []string{"not enough balance", "MOY"}},
		{"longer than leases last", change(func(t *testing.T, j *client.Job) { j.Timeout = 24 * 365 * time.Hour }), nil, []string{"timeout"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := newTenant(t, n, moy)
			h, err := x.Run(deadline(t, patience), tc.job(t, x))
			if err == nil {
				_, _ = stop(t, h)
				t.Fatal("it was bought")
			}
			t.Log(err)
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error is not %q", tc.is)
			}
			for _, want := range tc.says {
				if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
					t.Errorf("error does not say %q", want)
				}
			}
			if got := x.balance(t); got.String() != "1000000" {
				t.Errorf("the tenant owned 1000000 and owns %s now", got)
			}
			free(t, n, x.address)
		})
	}
}

// TestPenniless asks with an account that the chain has never heard of.
func TestPenniless(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 0)
	_, err := x.Run(deadline(t, patience), x.job(t, "say", "hello"))
	if !errors.Is(err, client.ErrFunds) || !strings.Contains(err.Error(), x.address) {
		t.Errorf("%v, want that %s lacks money", err, x.address)
	}
}

// readOnly is a folder that nothing can be made in, even by root.
func readOnly(t testing.TB) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return "/sys/moyai-e2e" // root may write wherever the file system lets it
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "result")
}

// TestUnknownLease asks for leases that do not exist, or are another's.
func TestUnknownLease(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, moy)
	unknown := strings.Repeat("ab", 20)
	if _, err := x.Lease(deadline(t, patience), unknown); !errors.Is(err, client.ErrUnknownLease) {
		t.Errorf("lease: %v", err)
	}
	if _, err := x.Wait(deadline(t, patience), unknown, nil); !errors.Is(err, client.ErrUnknownLease) {
		t.Errorf("wait: %v", err)
	}
	if err := x.Logs(deadline(t, patience), unknown, false, nil); !errors.Is(err, client.ErrUnknownLease) {
		t.Errorf("logs: %v", err)
	}
	// One that exists, but is somebody else's.
	y := newTenant(t, n, 10*moy)
	res := y.mustRun(t, y.job(t, "say", "hello"))
	if _, err := x.Wait(deadline(t, patience), res.Leases[0].ID, nil); !errors.Is(err, client.ErrNotOurs) {
		t.Errorf("wait for another's lease: %v", err)
	}
	free(t, n, y.address)
}

// stop ends a job early and waits for its settlement.
func stop(t testing.TB, h *client.Handle) (*client.Result, error) {
	t.Helper()
	h.Stop()
	return h.Wait(deadline(t, 2*patience))
}

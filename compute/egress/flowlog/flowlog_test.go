package flowlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func lines(t *testing.T, path string) (out []Entry) {
	t.Helper()
	if err := Read(path, func(e Entry) { out = append(out, e) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriter(t *testing.T) {
	path := Path(t.TempDir(), "ab12")
	w := NewWriter(open(t, path), 1<<20, "ab12", "0")
	web := Peer{Proto: TCP, Name: "pypi.org", Addr: "151.101.0.223", Port: 443, Verdict: Allowed}
	home := Peer{Proto: TCP, Addr: "192.168.1.1", Port: 80, Verdict: Refused, Why: "not a public address: private"}
	for range 3 {
		if err := errors.Join(w.Begin(web), w.Begin(home)); err != nil {
			t.Fatal(err)
		}
		w.Add(web, 10, 1000)
	}
	// Who was spoken to is there before anything else happens.
	if got := lines(t, path); len(got) != 2 || got[0].Peer != web || got[0].Lease != "ab12" || got[1].Peer != home {
		t.Fatalf("at first: %+v", got)
	}
	other := NewWriter(open(t, path), 1<<20, "ab12", "1")
	if err := other.Begin(web); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	w.Flush() // nothing new
	got, err := Sums(path)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := got[0]; s.Peer != web || s.Flows != 4 || s.Out != 30 || s.In != 3000 || s.Last.Before(s.Time) {
		t.Errorf("%+v", s)
	}
	if s := got[1]; s.Flows != 3 || s.Out != 0 {
		t.Errorf("%+v", s)
	}
	if n := len(lines(t, path)); n != 5 {
		t.Errorf("%d lines", n)
	}
}

// TestScan: a port scan fills some lines a second and is counted in full.
func TestScan(t *testing.T) {
	path := Path(t.TempDir(), "scan")
	w := NewWriter(open(t, path), 1<<20, "scan", "")
	const ports = 5000
	for p := range ports {
		if err := w.Begin(Peer{Proto: TCP, Addr: "8.8.8.8", Port: uint16(p + 1), Verdict: Refused, Why: "no rule allows it"}); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	var flows uint64
	for _, e := range lines(t, path) {
		flows += e.Flows
	}
	if n := len(lines(t, path)); flows != ports || n > 40*refusedPerSecond {
		t.Errorf("%d of %d attempts on %d lines", flows, ports, n)
	}
}

func TestFull(t *testing.T) {
	path := Path(t.TempDir(), "full")
	const limit = 2 * reserve
	w := NewWriter(open(t, path), limit, "full", "")
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n++ {
		err = w.Begin(Peer{Proto: TCP, Addr: fmt.Sprintf("8.8.%d.%d", n>>8&255, n&255), Port: uint16(n>>16 + 1), Verdict: Allowed})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d: %v", n, err)
	}
	known := Peer{Proto: TCP, Addr: "8.8.0.1", Port: 1, Verdict: Allowed}
	if n <= maxPeers {
		if err := w.Begin(known); err != nil {
			t.Errorf("a peer that has its line: %v", err)
		}
	}
	for range 1000 {
		w.Add(known, 1, 1)
		w.Flush()
	}
	if info, err := os.Stat(path); err != nil || info.Size() > limit {
		t.Errorf("%d bytes (%v), the limit is %d", info.Size(), err, limit)
	}
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x"+Extension)
	whole := `{"time":"2026-01-02T03:04:05Z","lease":"x","proto":"tcp","addr":"1.1.1.1","port":1,"verdict":"allowed","flows":1,"out":1,"in":1}`
	if err := os.WriteFile(path, []byte("garbage\n"+strings.Repeat("z", 3*maxLine)+"\n"+whole+"\n"+whole[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); len(got) != 1 || got[0].Addr != "1.1.1.1" {
		t.Errorf("%+v", got)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i, name := range []string{"oldest", "live", "old", "new"} {
		path := Path(dir, name)
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(i-4) * time.Hour)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	lives := func(lease string) bool { return lease == "live" }
	left := func() string { l, _ := Leases(dir); return strings.Join(l, " ") }
	if err := Prune(dir, now.Add(-210*time.Minute), 1000, lives); err != nil || left() != "live old new" {
		t.Errorf("by age: %s, %v", left(), err)
	}
	if err := Prune(dir, now.Add(-99*time.Hour), 250, lives); err != nil || left() != "live new" {
		t.Errorf("by size: %s, %v", left(), err)
	}
	if err := Prune(filepath.Join(dir, "absent"), now, 1, lives); err != nil {
		t.Error(err)
	}
}

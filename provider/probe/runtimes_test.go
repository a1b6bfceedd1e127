package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// scripts are programs that say what they are told to, found by name.
func scripts(t *testing.T, bodies map[string]string) func(string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range bodies {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) (string, error) { return exec.LookPath(filepath.Join(dir, name)) }
}

// socket is a path short enough for a socket.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "moyai")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve answers HTTP on a socket.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	path := socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return path
}

func TestDocker(t *testing.T) {
	engine := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/_ping":
			fmt.Fprint(w, "OK")
		case "/version":
			fmt.Fprint(w, `{"Version":"20.10.24","ApiVersion":"1.41"}`)
		default:
			http.NotFound(w, r)
		}
	})
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1<<20)) })
	silent, err := net.Listen("unix", socket(t))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dead := socket(t)
	if l, err := net.Listen("unix", dead); err != nil {
		t.Fatal(err)
	} else {
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close() // the file stays, as after a kill
	}
	for name, c := range map[string]struct {
		sockets []string
		patient time.Duration
		found   bool
		says    string
	}{
		"engine":           {[]string{engine}, time.Minute, true, "docker 20.10.24"},
		"after a dead one": {[]string{dead, engine}, time.Minute, true, "docker 20.10.24"},
		"dead":             {[]string{dead}, time.Minute, false, "connection refused"},
		"silent":           {[]string{silent.Addr().String()}, 10 * time.Millisecond, false, "does not answer"},
		"something else":   {[]string{other}, time.Minute, false, "something else than the Docker API"},
		"none":             {[]string{socket(t)}, time.Minute, false, "not installed"},
	} {
		p := Places{Docker: c.sockets, Patience: c.patient, Program: scripts(t, nil)}
		if r := p.docker(t.Context()); r.Found != c.found || !strings.Contains(r.Version+r.Why, c.says) || r.Found == (r.Why != "") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	p := Places{Program: scripts(t, map[string]string{"dockerd": "exit 1"})}
	if r := p.docker(t.Context()); r.Found || r.Why != "not running" || r.Fix == "" {
		t.Errorf("installed and not running: %+v", r)
	}
}

func TestRunc(t *testing.T) {
	const with, without = `echo "runc version 1.1.5+ds1"; echo "spec: 1.0.2-dev"; echo "libseccomp: 2.5.4"`, `echo "runc version 1.2.0"; echo "spec: 1.2.0"`
	for name, c := range map[string]struct {
		programs map[string]string
		version  string
		says     string
	}{
		"good":       {map[string]string{"runc": with}, "runc 1.1.5+ds1", ""},
		"no seccomp": {map[string]string{"runc": without}, "", "built without seccomp"},
		"broken":     {map[string]string{"runc": "exit 3"}, "", "exit status 3"},
		"absent":     {nil, "", "not installed"},
		"endless":    {map[string]string{"runc": "exec sleep 1000"}, "", "does not end"},
		"chatty":     {map[string]string{"runc": "head -c 300000 /dev/zero; " + with}, "", "built without seccomp"},
	} {
		patience := time.Minute
		if name == "endless" {
			patience = 50 * time.Millisecond
		}
		p := Places{Patience: patience, Program: scripts(t, c.programs)}
		version, why, fix := p.runc(t.Context())
		if version != c.version || !strings.Contains(why, c.says) || (why == "") != (fix == "") {
			t.Errorf("%s: %.80q, %.80q, %q", name, version, why, fix)
		}
	}
}

func TestRunsc(t *testing.T) {
	const stock, ours = `echo "runsc version release-20250407.0"; echo "spec: 1.1.0-rc.1"`, `echo "runsc version 20260905-moyai2"`
	for _, c := range []struct {
		programs     map[string]string
		found        bool
		version, why string
	}{
		{map[string]string{"runsc": ours, "containerd": ""}, true, "containerd, runsc 20260905-moyai2", ""},
		{map[string]string{"runsc": stock, "containerd": ""}, true, "containerd, runsc release-20250407.0", "limit of processes"},
		{map[string]string{"runsc": ours}, false, "", "containerd is not installed"},
		{map[string]string{"runsc": "exit 1", "containerd": ""}, false, "", "exit status 1"},
		{nil, false, "", "not installed"},
	} {
		p := Places{Patience: time.Minute, Program: scripts(t, c.programs)}
		r := p.runsc(t.Context())
		if r.Found != c.found || r.Version != c.version || !strings.Contains(r.Why, c.why) || (r.Why == "") != (c.why == "") || (r.Why == "") != (r.Fix == "") || r.Tier != compute.TierGVisor {
			t.Errorf("%v: %+v", c.programs, r)
		}
	}
}

// The real containerd, with folders and a socket of its own.
func TestContainerd(t *testing.T) {
	p := Usual()
	p.Patience = time.Minute
	program, err := p.Program("containerd")
	switch {
	case err != nil:
		t.Skip("containerd is not installed: apt install containerd runc")
	case os.Geteuid() != 0 || runtime.GOOS != "linux":
		t.Skip("containerd needs root")
	}
	path := socket(t)
	p.Containerd = []string{path}
	if r := p.containerd(t.Context()); r.Where != program || !r.Found && !strings.Contains(r.Why, "runc") {
		t.Errorf("installed and not running: %+v", r)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n", dir+"/root", dir+"/state", path)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-c", config)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	var r Runtime
	for ctx.Err() == nil && r.Where != path {
		r = p.containerd(ctx)
		time.Sleep(10 * time.Millisecond)
	}
	if !r.Found || !strings.HasPrefix(r.Version, "containerd ") || !strings.Contains(r.Version, ", runc ") || r.Where != path {
		t.Errorf("%+v", r)
	}
	p.Program = scripts(t, map[string]string{"containerd": "", "runc": "echo runc version 1"})
	if r := p.containerd(ctx); r.Found || !strings.Contains(r.Why, "without seccomp") {
		t.Errorf("a runc without seccomp: %+v", r)
	}
}

type noRuntime struct{ compute.Runtime }

func (noRuntime) Probe(context.Context) (compute.Capabilities, error) {
	return compute.Capabilities{Version: "engine 1", Enforced: []string{"memory"}, Missing: []string{"landlock: old kernel"}}, nil
}

func TestWebAssembly(t *testing.T) {
	if r := WebAssembly(t.Context(), nil, errors.New("no worker")); r.Found || r.Why != "no worker" || r.Fix == "" {
		t.Errorf("%+v", r)
	}
	if r := WebAssembly(t.Context(), noRuntime{}, nil); !r.Found || r.Version != "engine 1" || r.Why != "landlock: old kernel" || r.Tier.Means() == "" {
		t.Errorf("%+v", r)
	}
}

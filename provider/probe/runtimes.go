package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/moyai-network/moyai/compute"
	dockersocket "github.com/moyai-network/moyai/compute/docker/socket"
)

// Names of the runtimes that provide --containers uses.
const (
	Containerd = "containerd" // with runc
	Runsc      = "runsc"      // over containerd's images
	Docker     = "docker"     // a daemon of its own
)

// Runtime is a program that runs programs, found or not.
type Runtime struct {
	Name    string       `json:"name"`
	Runs    string       `json:"runs"`
	Tier    compute.Tier `json:"tier"`
	Found   bool         `json:"found"`
	Version string       `json:"version,omitempty"`
	Where   string       `json:"where,omitempty"`
	// Walls are what the runtime itself tried and found to hold.
	Walls []string `json:"walls,omitempty"`
	Why   string   `json:"why,omitempty"` // why it cannot be used as it is
	Fix   string   `json:"fix,omitempty"`
}

// Places are where Runtimes looks.
type Places struct {
	Containerd []string // sockets
	Docker     []string // sockets
	// Program finds an executable.
	Program func(name string) (string, error)
	// Patience bounds each question.
	Patience time.Duration
}

// Usual are the places of this machine.
func Usual() Places {
	containerd := []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"}
	if path := os.Getenv("CONTAINERD_ADDRESS"); path != "" {
		containerd = append([]string{strings.TrimPrefix(path, "unix://")}, containerd...)
	}
	return Places{Containerd: containerd, Docker: dockersocket.Usual(), Program: findProgram, Patience: 2 * time.Second}
}

// findProgram also finds what lies beside this program, and what only root's PATH
// has.
func findProgram(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// Runtimes looks for everything that runs containers. It starts none of them.
func Runtimes(ctx context.Context, p Places) []Runtime {
	found := []Runtime{p.containerd(ctx), p.runsc(ctx), p.docker(ctx)}
	if fix, elsewhere := linux[runtime.GOOS]; elsewhere {
		for i, r := range found {
			found[i] = Runtime{Name: r.Name, Runs: r.Runs, Tier: r.Tier, Why: "not supported on " + runtime.GOOS + ": containers need Linux", Fix: fix}
		}
	}
	return found
}

// linux is how to come by a Linux on systems that are not, for containers.
var linux = map[string]string{
	"windows": "lend from WSL2: docs/windows.md says how",
	"darwin":  "lend from a Linux machine or a virtual one",
}

// WebAssembly asks our own runtime. rt is nil if it could not be made, for the
// reason err.
func WebAssembly(ctx context.Context, rt compute.Runtime, err error) Runtime {
	r := Runtime{Name: "wasm", Runs: "WebAssembly programs", Tier: compute.TierSandbox}
	var c compute.Capabilities
	if err == nil {
		c, err = rt.Probe(ctx)
	}
	if err != nil {
		r.Why, r.Fix = err.Error(), "moyai-worker lies beside moyai after `make build`; --worker names another"
		return r
	}
	r.Found, r.Version, r.Walls = true, c.Version, c.Enforced
	r.Why = strings.Join(c.Missing, "; ")
	return r
}

// containerd needs its program and runc, and a runc that filters system calls. Its
// daemon need not run: a provider starts one of its own.
func (p Places) containerd(ctx context.Context) Runtime {
	r := Runtime{Name: Containerd, Runs: "containers", Tier: compute.TierContainer}
	if !p.images(ctx, &r) {
		return r
	}
	runc, why, fix := p.runc(ctx)
	if why != "" {
		r.Why, r.Fix = why, fix
		return r
	}
	r.Found, r.Version = true, r.Version+", "+runc
	return r
}

// images finds what keeps and unpacks images for r.
func (p Places) images(ctx context.Context, r *Runtime) bool {
	version, where, err := p.ask(ctx, p.Containerd, askContainerd)
	if err != nil {
		path, absent := p.Program("containerd")
		if absent != nil {
			r.Why, r.Fix = "not installed", "sudo apt install containerd runc"
			return false
		}
		version, where = "containerd", path
	}
	r.Version, r.Where = version, where
	return true
}

func (p Places) runc(ctx context.Context) (version, why, fix string) {
	out, err := p.output(ctx, "runc", "--version")
	if err != nil {
		return "", "runc: " + err.Error(), "sudo apt install runc"
	}
	version, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
	version = strings.Replace(version, " version", "", 1)
	if !strings.Contains(out, "libseccomp:") { // printed only if it is compiled in
		return "", version + " is built without seccomp", "sudo apt install --reinstall runc; a runc of your own needs -tags seccomp"
	}
	return version, "", ""
}

func (p Places) runsc(ctx context.Context) Runtime {
	r := Runtime{Name: Runsc, Runs: "containers (gVisor)", Tier: compute.TierGVisor}
	if _, err := p.Program("runsc"); err != nil {
		r.Why, r.Fix = "not installed", "`make runsc` in a clone of this project, or https://gvisor.dev/docs/user_guide/install"
		return r
	}
	out, err := p.output(ctx, "runsc", "--version")
	if err != nil {
		r.Why, r.Fix = err.Error(), "run `runsc --version`"
		return r
	}
	if !p.images(ctx, &r) {
		r.Why = "runsc is here, containerd is " + r.Why
		return r
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	r.Found, r.Version = true, r.Version+", "+strings.Replace(line, " version", "", 1)
	if !strings.Contains(line, "-moyai2") { // see scripts/gvisor.sh
		r.Why, r.Fix = "it can be told neither a limit of processes nor a filter of system calls", "`make runsc` builds one that can"
	}
	return r
}

func (p Places) docker(ctx context.Context) Runtime {
	r := Runtime{Name: Docker, Runs: "containers (Docker API)", Tier: compute.TierContainer}
	version, where, err := p.ask(ctx, p.Docker, askDocker)
	if err != nil {
		r.Why, r.Fix = err.Error(), "sudo systemctl start docker"
		if errors.Is(err, os.ErrPermission) {
			r.Why, r.Fix = "its socket refuses this user", "sudo usermod -aG docker $USER, then log in again"
		}
		if _, absent := p.Program("dockerd"); absent != nil && errors.Is(err, errNoSocket) {
			r.Why, r.Fix = "not installed", "" // containerd does
		}
		return r
	}
	r.Found, r.Version, r.Where = true, version, where
	return r
}

var errNoSocket = errors.New("not running")

// ask tries each socket that is there, and says why the last one would not do.
func (p Places) ask(ctx context.Context, sockets []string, question func(context.Context, string) (string, error)) (version, where string, err error) {
	err = errNoSocket
	for _, path := range slices.Compact(sockets) {
		if _, missing := os.Stat(path); missing != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, p.Patience)
		version, err = question(asking, path)
		late := asking.Err() != nil
		cancel()
		if err == nil {
			return version, path, nil
		}
		if late {
			err = fmt.Errorf("%s does not answer", path)
		}
	}
	return "", "", err
}

// askContainerd asks for the daemon's version. Its answer begins with a string,
// which is all that is read: the generated client would bring containerd with
// it.
func askContainerd(ctx context.Context, socket string) (string, error) {
	if err := reach(ctx, socket); err != nil {
		return "", err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var version wrapperspb.StringValue
	if err := conn.Invoke(ctx, "/containerd.services.version.v1.Version/Version", &emptypb.Empty{}, &version); err != nil {
		return "", fmt.Errorf("%s: %w", socket, err)
	}
	return "containerd " + printable(version.GetValue()), nil
}

// reach tells a closed door from a silent one, which gRPC does not.
func reach(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

const maxAnswer = 64 << 10

func askDocker(ctx context.Context, socket string) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	get := func(path string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s", socket, resp.Status)
		}
		return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	}
	if _, err := get("/_ping"); err != nil {
		return "", err
	}
	raw, err := get("/version")
	if err != nil {
		return "", err
	}
	var v struct{ Version string }
	if err := json.Unmarshal(raw, &v); err != nil || v.Version == "" {
		return "", fmt.Errorf("%s speaks something else than the Docker API", socket)
	}
	return "docker " + printable(v.Version), nil
}

// output runs a program that prints little and ends.
func (p Places) output(ctx context.Context, name string, args ...string) (string, error) {
	path, err := p.Program(name)
	if err != nil {
		return "", errors.New("not installed")
	}
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 100 * time.Millisecond // a grandchild may keep the pipe open
	var out bounded
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.New("does not end")
		}
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(out), nil
}

// bounded keeps the first part of what is written.
type bounded []byte

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), maxAnswer-len(*b))]...)
	return len(p), nil
}

// printable bounds a version that another program told.
func printable(s string) string {
	s = strings.Trim(strconv.Quote(s[:min(len(s), 100)]), `"`)
	return s
}

package container

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/filelock"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// namespace keeps what is ours apart from whatever else containerd holds.
const namespace = "moyai"

// engine is a containerd: somebody's, or one of our own that outlives us. It is
// asked only when an image is unpacked or removed; containers run without it.
type engine struct {
	config Config
	run    string // volatile folder: socket, pid, and the state of runc and runsc

	mu     sync.Mutex
	client *containerd.Client
}

// newEngine lays out the folders. The volatile one is below /run, named after
// home: it must be empty after a reboot, and a socket's path must be short.
func newEngine(config Config) (*engine, error) {
	sum := sha256.Sum256([]byte(config.Home))
	e := &engine{config: config, run: filepath.Join("/run/moyai", hex.EncodeToString(sum[:6]))}
	for _, dir := range []string{e.run, e.oci(config.Tier).Root, e.locks(), filepath.Join(config.Home, "images"), filepath.Join(config.Home, "scratch")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, unavailable("make a folder", err)
		}
	}
	return e, nil
}

func (e *engine) locks() string         { return filepath.Join(e.run, "tasks") }
func (e *engine) lock(id string) string { return filepath.Join(e.locks(), id) }
func (e *engine) pidFile() string       { return filepath.Join(e.run, "containerd.pid") }

// oci is what makes containers of a tier.
func (e *engine) oci(tier compute.Tier) supervise.OCI {
	o := supervise.OCI{Tier: tier, Path: e.config.Runc, Root: filepath.Join(e.run, "runc")}
	if o.GVisor() {
		o.Path, o.Root, o.CountsPids = e.config.Runsc, filepath.Join(e.run, "runsc"), e.config.mended
	}
	return o
}

func (e *engine) socket() string {
	if e.config.Socket != "" {
		return e.config.Socket
	}
	return filepath.Join(e.run, "containerd.sock")
}

// connect returns a client of a containerd that answers, starting ours if it
// does not run.
//
// Errors: compute.ErrUnavailable, ctx's.
func (e *engine) connect(ctx context.Context) (*containerd.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil && e.answers(ctx, e.client) == nil {
		return e.client, nil
	}
	e.hangUp()
	client, err := e.dial(ctx)
	if err == nil {
		e.client = client
		return client, nil
	}
	if e.config.Socket != "" {
		return nil, unavailable("containerd at "+e.config.Socket+" does not answer: start it, or leave the socket out", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.client, err = e.start(ctx); err != nil {
		return nil, err
	}
	return e.client, nil
}

// dial connects if anybody listens.
func (e *engine) dial(ctx context.Context) (*containerd.Client, error) {
	if _, err := os.Stat(e.socket()); err != nil {
		return nil, err
	}
	client, err := containerd.New(e.socket(), containerd.WithDefaultNamespace(namespace), containerd.WithTimeout(2*time.Second))
	if err != nil {
		return nil, err
	}
	if err := e.answers(ctx, client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

func (e *engine) answers(ctx context.Context, client *containerd.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := client.Version(ctx)
	return err
}

// start runs a containerd of ours, in a session of its own. Of several processes
// that want one, the first starts it and the others find it.
func (e *engine) start(ctx context.Context) (*containerd.Client, error) {
	lock, err := filelock.Wait(ctx, filepath.Join(e.run, "start.lock"), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if client, err := e.dial(ctx); err == nil {
		return client, nil
	}
	if err := e.shutdown(); err != nil { // one that hangs must go first: it holds the data
		return nil, err
	}
	config, err := e.writeConfig()
	if err != nil {
		return nil, unavailable("configure containerd", err)
	}
	logPath := filepath.Join(e.run, "containerd.log")
	log, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, unavailable("start containerd", err)
	}
	defer log.Close()
	cmd := exec.Command(e.config.Containerd, "-c", config)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, unavailable("start containerd", err)
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(gone)
	}()
	if err := os.WriteFile(e.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		_ = cmd.Process.Kill()
		return nil, unavailable("start containerd", err)
	}
	client, err := e.await(ctx, gone)
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("%w: containerd did not come up (%w): %s", compute.ErrUnavailable, err, lastLine(logPath))
	}
	return client, nil
}

func (e *engine) await(ctx context.Context, gone <-chan struct{}) (*containerd.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.StartTimeout)
	defer cancel()
	for {
		client, err := e.dial(ctx)
		if err == nil {
			return client, nil
		}
		select {
		case <-gone:
			return nil, errors.New("it ended")
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// writeConfig turns off everything that unpacking images does not need.
func (e *engine) writeConfig() (string, error) {
	path := filepath.Join(e.run, "containerd.toml")
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`, filepath.Join(e.config.Home, "containerd"), filepath.Join(e.run, "state"), e.socket(), e.socket()+".ttrpc")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// shutdown ends a containerd that we started, in this process or an earlier one.
// Containers are not touched.
func (e *engine) shutdown() error {
	b, err := os.ReadFile(e.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unavailable("stop containerd", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return e.forget()
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return e.forget() // gone
	}
	defer unix.Close(fd)
	// Checked after opening: what the handle names cannot change any more.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && strings.Contains(string(line), filepath.Join(e.run, "containerd.toml")) {
		if err := endProcess(fd, 10*time.Second); err != nil {
			return unavailable("stop containerd", err)
		}
	}
	return e.forget()
}

// forget removes what names our containerd; another process of the same home may
// have done so.
func (e *engine) forget() error {
	if err := os.Remove(e.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return unavailable("stop containerd", err)
	}
	return nil
}

// endProcess asks, waits, and insists.
func endProcess(pidfd int, patience time.Duration) error {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil {
			if errors.Is(err, unix.ESRCH) {
				return nil
			}
			return err
		}
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, int(patience.Milliseconds())); n > 0 {
			return nil
		}
	}
	return errors.New("it does not end, not even when killed")
}

func (e *engine) hangUp() {
	if e.client != nil {
		_ = e.client.Close()
		e.client = nil
	}
}

func (e *engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hangUp()
}

func lastLine(path string) string {
	b, err := taskrecord.Bounded(path, 1<<20)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/devnet"
)

const (
	boxes       = 25 // containers started through a lease and, in turn, by containerd alone
	boxMemory   = 256 << 20
	boxPids     = 1024
	cfsPeriodUS = 100_000
)

// containers measures what a lease adds to a container: from the order to the first
// byte, against containerd alone with the same image, both there beforehand. A block
// is taken off, since that is the chain's profile and not the provider's work.
func (b *bench) containers(ctx context.Context) error {
	if why := noContainers(); why != "" {
		b.say("containers: skipped: %s", why)
		return nil
	}
	image, _, err := b.besideImage(ctx)
	if err != nil {
		return err
	}
	alone, err := b.startContainerd(ctx, image)
	if err != nil {
		return err
	}
	defer alone.stop()
	m, err := b.openMarket(ctx, "containers", devnet.Dev, boxer)
	if err != nil {
		return err
	}
	defer m.close()
	tiers := []compute.Tier{compute.TierContainer}
	if _, err := exec.LookPath(filepath.Join(b.bin, "runsc")); err == nil {
		tiers = append(tiers, compute.TierGVisor)
	} else {
		b.say("containers: behind gVisor: skipped: needs runsc beside moyai: `make runsc`")
	}
	figures := map[string]measure.Samples{}
	for i := range boxes + 3 {
		took, err := alone.firstOutput(ctx, fmt.Sprint("box-", i), "hello")
		if err != nil {
			return fmt.Errorf("containerd alone: %w", err)
		}
		for _, tier := range tiers {
			t, err := m.rentAt(ctx, tier, image, "hello")
			if err != nil {
				return err
			}
			if i >= 3 { // those before warm all up
				besideContainerd(figures, tier, took, t)
			}
		}
	}
	for name, s := range figures {
		b.report.SetSpread(name, "ms", s)
	}
	return nil
}

// besideContainerd enters what a lease took where containerd alone had the first byte
// after alone.
func besideContainerd(figures map[string]measure.Samples, tier compute.Tier, alone time.Duration, t times) {
	add := func(name string, d time.Duration) { figures[name] = append(figures[name], measure.Milliseconds(d)) }
	whole, block := t.first.Sub(t.announced), t.opened.Sub(t.opening)
	if tier == compute.TierGVisor {
		add("container_gvisor_ms", whole)
		return
	}
	add("container_lease_ms", whole)
	add("container_containerd_ms", alone)
	add("container_block_ms", block)
	add("container_overhead_ms", whole-alone-block)
}

// engine is a containerd of the bench's own, with one image.
type engine struct {
	client *containerd.Client
	image  containerd.Image
	cmd    *exec.Cmd
}

// startContainerd runs one, with everything below the run's folder, and gives it the image.
func (b *bench) startContainerd(ctx context.Context, archive string) (_ *engine, err error) {
	dir := filepath.Join(b.dir, "containerd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	socket, config := filepath.Join(dir, "sock"), filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e := &engine{cmd: exec.CommandContext(ctx, "containerd", "-c", config)}
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	for end := time.Now().Add(time.Minute); e.client == nil; time.Sleep(50 * time.Millisecond) {
		if e.client, err = containerd.New(socket, containerd.WithDefaultNamespace("bench"), containerd.WithTimeout(time.Second)); err == nil {
			if _, err = e.client.Version(ctx); err == nil {
				break
			}
			_, e.client = e.client.Close(), nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, fmt.Errorf("containerd did not come up: %w; see %s", err, log.Name())
		}
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	images, err := e.client.Import(ctx, f, containerd.WithIndexName("bench"))
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("containerd found no image in " + archive)
	}
	e.image = containerd.NewImage(e.client, images[0])
	return e, e.image.Unpack(ctx, "")
}

// firstOutput is how long a container takes from its making to its first byte, with
// limits on memory, processor time and processes as a lease's has. It is removed again.
func (e *engine) firstOutput(ctx context.Context, id string, args ...string) (first time.Duration, err error) {
	began := time.Now()
	c, err := e.client.NewContainer(ctx, id, containerd.WithNewSnapshot(id, e.image),
		containerd.WithNewSpec(oci.WithImageConfigArgs(e.image, args),
			oci.WithMemoryLimit(boxMemory), oci.WithCPUCFS(cfsPeriodUS, cfsPeriodUS), oci.WithPidsLimit(boxPids)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Delete(context.WithoutCancel(ctx), containerd.WithSnapshotCleanup)) }()
	r, w := io.Pipe()
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, w, io.Discard)))
	if err != nil {
		return 0, err
	}
	ended, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, 1))
		first = time.Since(began)
		go func() { _, _ = io.Copy(io.Discard, r) }()
	}
	if err == nil {
		if s := <-ended; s.ExitCode() != 0 {
			err = fmt.Errorf("it ended with %d: %w", s.ExitCode(), s.Error())
		}
	}
	_, gone := task.Delete(context.WithoutCancel(ctx), containerd.WithProcessKill)
	return first, errors.Join(err, gone, r.Close())
}

// stop ends it and whatever it started.
func (e *engine) stop() {
	if e.client != nil {
		_ = e.client.Close()
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	_ = e.cmd.Wait()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
)

const (
	execs       = 25       // programs run beside another, after 3 that warm up
	besidePort  = 9000     // where bench/beside serves zeros
	besideBytes = 64 << 20 // read through a forwarded port, and over plain TCP, in turn
	besideTurns = 5
)

// enter measures what entering a running container costs: a program's round trip,
// and bytes through a forwarded port against the same program asked over loopback.
func (b *bench) enter(ctx context.Context) error {
	if why := noContainers(); why != "" {
		b.say("enter: skipped: %s", why)
		return nil
	}
	image, program, err := b.besideImage(ctx)
	if err != nil {
		return err
	}
	price, err := amount.ParsePrice("1MOY/h")
	if err != nil {
		return err
	}
	n, err := devnet.Start(ctx, devnet.Config{
		Dir: filepath.Join(b.dir, "enter"), Profile: devnet.Dev, Binary: b.moyai(), Worker: filepath.Join(b.bin, "moyai-worker"),
		Providers: []devnet.ProviderSpec{{Name: "alice", Prices: []string{"cpu=0.02MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30, Containers: true}},
	})
	if err != nil {
		return err
	}
	defer n.Stop()
	c, err := client.New(ctx, client.Config{
		RPC: n.RPC, Home: n.TenantHome, KeyringBackend: chain.BackendTest, Key: "default", Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	up := make(chan struct{}, 1)
	h, err := c.Run(ctx, client.Job{
		Module: image, MemoryBytes: 256 << 20, Timeout: 10 * time.Minute, MaxPrice: price, Constraints: atTier(compute.TierContainer),
		Events: func(e client.Event) {
			if e.Kind == client.EventLog {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() {
		h.Stop()
		_, _ = h.Wait(context.WithoutCancel(ctx))
	}()
	select {
	case <-up:
	case <-time.After(rentTimeout):
		return errors.New("the program did not come up")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := b.execRoundTrips(ctx, c, h.JobID()); err != nil {
		return err
	}
	return b.forwardBesideTCP(ctx, c, h.JobID(), program)
}

// execRoundTrips is from the call to the exit code, on a warm connection.
func (b *bench) execRoundTrips(ctx context.Context, c *client.Client, job string) error {
	var s measure.Samples
	for i := range execs + 3 {
		began := time.Now()
		code, err := c.Exec(ctx, job, client.Exec{Args: []string{"/beside", "once"}})
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("a program that ends at once ended with code %d", code)
		}
		if i >= 3 {
			s = append(s, measure.Milliseconds(time.Since(began)))
		}
	}
	b.report.SetSpread("exec_ms", "ms", s)
	b.say("enter: exec round trip %.0f ms", s.Median())
	return nil
}

// forwardBesideTCP reads zeros through the lease and, in turn, from the same program
// on this machine's loopback.
func (b *bench) forwardBesideTCP(ctx context.Context, c *client.Client, job, program string) error {
	cmd := exec.CommandContext(ctx, program)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	plain := func() (io.ReadCloser, error) {
		for {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", besidePort))
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	ours := func() (io.ReadCloser, error) { return c.DialPort(ctx, job, besidePort) }
	var through, bare, ratio measure.Samples
	for range besideTurns {
		direct, err := mibPerSecond(plain)
		if err != nil {
			return err
		}
		forwarded, err := mibPerSecond(ours)
		if err != nil {
			return err
		}
		through, bare, ratio = append(through, forwarded), append(bare, direct), append(ratio, forwarded/direct)
	}
	b.report.Set("enter_forward_mib_s", through.Median(), "MiB/s", len(through))
	b.report.Set("enter_tcp_mib_s", bare.Median(), "MiB/s", len(bare))
	b.report.Set("enter_forward_ratio", ratio.Median(), "ours/TCP", len(ratio))
	b.say("enter: %.0f MiB/s through a lease's port, %.0f over loopback alone", through.Median(), bare.Median())
	return nil
}

// mibPerSecond reads besideBytes from a fresh connection.
func mibPerSecond(open func() (io.ReadCloser, error)) (float64, error) {
	conn, err := open()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	if _, err := io.CopyN(io.Discard, conn, besideBytes); err != nil {
		return 0, err
	}
	return besideBytes / (1 << 20) / time.Since(began).Seconds(), nil
}

// noContainers says why containers cannot be measured here.
func noContainers() string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "needs Linux and root"
	}
	for _, program := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			return "needs " + program + ": scripts/container-deps.sh installs it"
		}
	}
	return ""
}

// besideImage is an image of bench/beside and nothing else, and the program itself.
func (b *bench) besideImage(ctx context.Context) (image, program string, err error) {
	program, image = filepath.Join(b.dir, "beside"), filepath.Join(b.dir, "beside.tar")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./bench/beside")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("build ./bench/beside: %w\n%s(run this from the root of the repository)", err, out)
	}
	return image, program, pack.Program(image, program, "beside")
}

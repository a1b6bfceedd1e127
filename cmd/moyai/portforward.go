package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/internal/oserror"
)

func (a *app) portForwardCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "port-forward LEASE [LOCAL:]REMOTE…",
		Short: "lead ports of this machine to ports inside a lease",
		Long: `Lead TCP ports of this machine to ports on which something listens inside what runs
on a lease, until Ctrl-C or the lease's end. 0 as the local port is any free one;
the addresses are printed, one a line.`,
		Example: `  moyai port-forward 4f2c 8888
  moyai port-forward 4f2c 8080:80 0:5432`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			if net.ParseIP(address) == nil {
				return usagef("--address %q: give an IP address of this machine", address)
			}
			ports, err := parsePorts(given[1:])
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.forward(ctx, given[0], address, ports)
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1", "address of this machine to listen on")
	return cmd
}

// portPair is LOCAL:REMOTE.
type portPair struct{ local, remote uint16 }

const maxForwards = 64

func parsePorts(texts []string) ([]portPair, error) {
	if len(texts) > maxForwards {
		return nil, usagef("%d ports, at most %d at once", len(texts), maxForwards)
	}
	var out []portPair
	for _, text := range texts {
		local, remote, both := strings.Cut(text, ":")
		if !both {
			remote = local
		}
		l, err1 := strconv.ParseUint(local, 10, 16)
		r, err2 := strconv.ParseUint(remote, 10, 16)
		if err1 != nil || err2 != nil || r == 0 {
			return nil, usagef("port %q: write it like 8080 or 8080:80, with numbers up to 65535; 0:80 takes any free port here", text)
		}
		out = append(out, portPair{uint16(l), uint16(r)})
	}
	return out, nil
}

func (a *app) forward(ctx context.Context, lease, address string, ports []portPair) error {
	var forwards []client.Forward
	defer func() {
		for _, f := range forwards {
			_ = f.Listener.Close()
		}
	}()
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(int(p.local))))
		if oserror.AddressTaken(err) {
			return withHint(fmt.Errorf("port %d of this machine is taken", p.local), "choose another one, or 0:%d for any that is free", p.remote)
		}
		if err != nil {
			return err
		}
		forwards = append(forwards, client.Forward{Listener: l, Port: p.remote})
	}
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ready := func() {
		for _, f := range forwards {
			if a.json {
				_ = a.line(map[string]any{"local": f.Listener.Addr().String(), "remote": f.Port})
				continue
			}
			fmt.Fprintf(a.out, "%s -> %d\n", f.Listener.Addr(), f.Port)
		}
	}
	return a.explain(c.ForwardPorts(ctx, lease, forwards, ready, func(f client.Forward, err error) {
		a.say("%s: %s", f.Listener.Addr(), printable(err.Error()))
	}))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/discovery"
)

// relayPort is where a relay listens unless told otherwise: others write its
// address down, so it must not change.
const relayPort = 4001

// relayReport is how often a relay that carries something says how much.
const relayReport = time.Minute

type relayFlags struct {
	listen, announce []string
	region           string
	limits           p2p.RelayLimits
	bytes            bytesValue
	unacknowledged   bytesValue
	logLevel         string
}

// relayStarted and relayLine are what --json prints.
type relayStarted struct {
	Addresses []string `json:"addresses"`
}

type relayLine struct {
	Machines    int64  `json:"machines"`
	Connections int64  `json:"connections"`
	Bytes       uint64 `json:"bytes"`
}

func (a *app) relayCommand() *cobra.Command {
	var f relayFlags
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "give machines behind home routers an address",
		Long: `Carry connections to machines that nobody can connect to, on a machine with a
public address. What passes is encrypted between the two ends, who punch a
direct connection through their routers where they can. A relay needs no account.
It carries no more than its limits, and only for machines that sign receipts for
the bytes; paying for receipts is not built yet.

It joins the network's DHT over --bootstrap, or over the machines in the registry
if a chain answers at --node, and providers find it there by themselves. Where
there is neither, others name it: with --bootstrap, or with --relay.`,
		Example: `  moyai relay
  moyai relay status            # what was carried, for whom, and what of it is acknowledged
  moyai provide --relay /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo... --price cpu=0.02MOY/h`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.relay(ctx, f)
		},
	}
	f.limits.EnsureDefaults()
	f.bytes, f.unacknowledged = bytesValue(f.limits.CircuitBytes), bytesValue(f.limits.Unacknowledged)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.listen, "listen", nil, fmt.Sprintf("multiaddress to listen on (repeatable; default: every interface, port %d)", relayPort))
	fs.StringArrayVar(&f.announce, "announce", nil, "multiaddress under which others reach it (repeatable; default: what it listens on)")
	fs.StringVar(&f.region, "region", "", "short name of where the relay is, such as eu: machines there are found first")
	fs.IntVar(&f.limits.Reservations, "machines", f.limits.Reservations, "machines it may give an address to")
	fs.IntVar(&f.limits.PerIP, "machines-per-ip", f.limits.PerIP, "of them behind one public address")
	fs.IntVar(&f.limits.Circuits, "connections", f.limits.Circuits, "connections it carries at once for each machine")
	fs.Var(&f.bytes, "connection-bytes", "bytes that one connection may carry in each direction")
	fs.DurationVar(&f.limits.CircuitTime, "connection-time", f.limits.CircuitTime, "how long one connection may last")
	fs.Var(&f.unacknowledged, "unacknowledged", "bytes that may be carried for a machine before it signs a receipt")
	fs.StringVar(&f.logLevel, "log-level", "warn", "debug, info, warn or error")
	cmd.AddCommand(a.relayStatusCommand())
	return cmd
}

func (a *app) relay(ctx context.Context, f relayFlags) error {
	logger, err := a.logger(f.logLevel)
	if err != nil {
		return err
	}
	f.limits.CircuitBytes, f.limits.Unacknowledged = int64(min(f.bytes, 1<<62)), int64(min(f.unacknowledged, 1<<62))
	if err := f.limits.Validate(); err != nil {
		return &usageError{err}
	}
	if _, err := p2p.ParseBootstrap(a.bootstrap); err != nil {
		return &usageError{err}
	}
	home, err := filepath.Abs(a.home)
	if err != nil {
		return err
	}
	key, err := p2p.LoadOrCreateKey(filepath.Join(home, "relay.key"))
	if err != nil {
		return err
	}
	books, err := p2p.OpenRelayBooks(relayBooks(home))
	if err != nil {
		return err
	}
	if f.listen == nil {
		f.listen = relayListens()
	}
	host, err := p2p.New(p2p.Config{Key: key, Listen: f.listen, Announce: f.announce, Relay: &f.limits, RelayBooks: books, Probe: true, Logger: logger})
	if err != nil {
		return withHint(err, "--listen names other addresses, such as /ip4/0.0.0.0/udp/4002/quic-v1")
	}
	defer host.Close()
	finder, err := discovery.Join(host, discovery.Config{Mode: discovery.Answer, Bootstrap: a.relayContacts, Logger: logger})
	if err != nil {
		return err
	}
	defer finder.Close()
	finder.Announce(ctx, discovery.Relay, f.region, func() bool {
		return host.RelayUse().Reservations < int64(f.limits.Reservations)
	})
	if err := a.relayReady(host); err != nil {
		return err
	}
	return errors.Join(a.relayReports(ctx, host), a.relayEnds(host, books))
}

// relayLast is how long machines may take to sign for the last bytes.
const relayLast = 3 * time.Second

// relayEnds has the last bytes acknowledged and closes the books.
func (a *app) relayEnds(host *p2p.Host, books *p2p.RelayBooks) error {
	ctx, cancel := context.WithTimeout(context.Background(), relayLast)
	defer cancel()
	host.AskReceipts(ctx)
	return books.Save()
}

func relayBooks(home string) string { return filepath.Join(home, "relay.json") }

// relayContacts are whom the relay asks first for the rest of the network.
func (a *app) relayContacts(ctx context.Context) []peer.AddrInfo {
	named, _ := p2p.ParseBootstrap(a.bootstrap) // relay has seen them
	c, err := chain.Dial(ctx, a.node)
	if err != nil {
		return named // a relay needs no chain
	}
	defer c.Close()
	nodes, err := c.Nodes(ctx, "", true)
	if err != nil {
		return named
	}
	var machines []peer.AddrInfo
	for _, n := range nodes {
		id, err := p2p.PeerIDFromNode(n.Node)
		if err != nil {
			continue
		}
		if info, err := p2p.ParseAddrInfo(id, n.Addresses); err == nil {
			machines = append(machines, info)
		}
	}
	return append(named, discovery.Contacts(machines)...)
}

func relayListens() (out []string) {
	for _, ip := range []string{"/ip4/0.0.0.0", "/ip6/::"} {
		out = append(out, fmt.Sprintf("%s/udp/%d/quic-v1", ip, relayPort), fmt.Sprintf("%s/tcp/%d", ip, relayPort))
	}
	return out
}

func (a *app) relayReady(host *p2p.Host) error {
	started := relayStarted{Addresses: host.AddrStrings()}
	for i := range started.Addresses {
		started.Addresses[i] += "/p2p/" + host.ID().String()
	}
	if a.json {
		return a.line(started)
	}
	for _, addr := range started.Addresses {
		fmt.Fprintln(a.out, addr)
	}
	a.say("relaying; providers find it by themselves, or name an address that they can reach with --relay or --bootstrap")
	return nil
}

// relayReports says what the relay carries, when that has changed, until ctx ends.
func (a *app) relayReports(ctx context.Context, host *p2p.Host) error {
	ticker := time.NewTicker(relayReport)
	defer ticker.Stop()
	var last p2p.RelayUse
	for {
		select {
		case <-ctx.Done():
			a.say("stopped after carrying %s", match.Bytes(host.RelayUse().Bytes))
			return nil
		case <-ticker.C:
		}
		use := host.RelayUse()
		if use == last {
			continue
		}
		last = use
		if a.json {
			if err := a.line(relayLine{use.Reservations, use.Circuits, use.Bytes}); err != nil {
				return err
			}
			continue
		}
		a.say("%d machines, %d connections, %s carried", use.Reservations, use.Circuits, match.Bytes(use.Bytes))
	}
}

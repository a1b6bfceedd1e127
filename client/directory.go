package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/p2p"
)

const (
	maxPeers       = 32 // providers kept connected
	dialTimeout    = 5 * time.Second
	refreshPeriod  = 30 * time.Second
	firstReachWait = 2 * time.Second
)

// machine is a provider's node as the registry knows it.
type machine struct {
	registryv1.Node
	info    peer.AddrInfo
	moniker string
}

// directory finds providers through the registry and stays connected to some.
type directory struct {
	ctx   context.Context
	chain *chain.Client
	host  *p2p.Host
	log   *slog.Logger

	mu       sync.Mutex
	machines map[peer.ID]machine
	known    chan struct{} // closed once the registry was read and dialled the first time
	once     sync.Once
	wake     chan struct{}

	beyond beyond
}

func newDirectory(ctx context.Context, c *chain.Client, h *p2p.Host, bootstrap []peer.AddrInfo, log *slog.Logger) *directory {
	return &directory{ctx: ctx, chain: c, host: h, log: log, beyond: newBeyond(bootstrap),
		machines: map[peer.ID]machine{}, known: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// keep reads the registry and dials until the client closes.
func (d *directory) keep() {
	for {
		if err := d.refresh(d.ctx); err != nil {
			d.log.Warn("registry not read", "err", err)
		}
		d.connect(d.ctx)
		d.once.Do(func() { close(d.known) })
		d.discover(d.ctx)
		select {
		case <-d.ctx.Done():
			d.beyond.close()
			return
		case <-d.wake:
		case <-time.After(refreshPeriod):
		}
	}
}

// refresh reads all live machines and their operators' names.
func (d *directory) refresh(ctx context.Context) error {
	nodes, err := d.chain.Nodes(ctx, "", true)
	if err != nil {
		return err
	}
	operators, err := d.chain.Providers(ctx)
	if err != nil {
		return err
	}
	monikers := make(map[string]string, len(operators))
	for _, o := range operators {
		if !o.Leaving {
			monikers[o.Operator] = o.Moniker
		}
	}
	machines := make(map[peer.ID]machine, len(nodes))
	for _, n := range nodes {
		moniker, serves := monikers[n.Operator]
		id, err := p2p.PeerIDFromNode(n.Node)
		if err != nil || !serves {
			continue
		}
		info, err := p2p.ParseAddrInfo(id, n.Addresses)
		if err != nil {
			continue // its own affair: it cannot be dialled
		}
		machines[id] = machine{Node: n, info: info, moniker: moniker}
	}
	d.mu.Lock()
	d.machines = machines
	d.mu.Unlock()
	return nil
}

// connect dials up to maxPeers machines at once, in random order so that no
// provider is always first.
func (d *directory) connect(ctx context.Context) {
	all := d.all()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if len(all) > maxPeers {
		all = all[:maxPeers]
	}
	var wg sync.WaitGroup
	for _, m := range all {
		if d.host.Linked(m.info.ID) {
			continue
		}
		wg.Go(func() {
			dial, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			if err := d.host.Connect(dial, m.info); err != nil {
				d.log.Debug("provider not reached", "provider", m.Operator, "err", err)
			}
		})
	}
	wg.Wait()
}

func (d *directory) all() []machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]machine, 0, len(d.machines))
	for _, m := range d.machines {
		out = append(out, m)
	}
	return out
}

// find returns a machine; the zero value if the registry does not list it.
func (d *directory) find(id peer.ID) machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[id]
}

// located adds to a provider's last known addresses those of the registry: it may
// have moved.
func (c *Client) located(info peer.AddrInfo) peer.AddrInfo {
	if m := c.peers.find(info.ID); m.info.ID != "" {
		info.Addrs = append(slices.Clone(m.info.Addrs), info.Addrs...)
	}
	if m := c.peers.movedTo(info.ID); m.ID != "" {
		info.Addrs = append(slices.Clone(m.Addrs), info.Addrs...)
	}
	return info
}

// poke makes keep look again soon.
func (d *directory) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// ready waits until the first round of dialling is over, at most a little while,
// and until the first search beyond the registry if that led to nobody. It returns
// how many providers are connected, and how many are listed.
func (d *directory) ready(ctx context.Context) (connected, listed int) {
	wait := time.NewTimer(firstReachWait)
	defer wait.Stop()
	select {
	case <-d.known:
	case <-wait.C:
	case <-ctx.Done():
	}
	if connected, listed = d.linked(); connected == 0 {
		search := time.NewTimer(discoverWait)
		defer search.Stop()
		select {
		case <-d.beyond.searched:
		case <-search.C:
		case <-ctx.Done():
		}
		connected, listed = d.linked()
	}
	if connected == 0 || connected < min(listed, maxPeers) {
		d.poke()
	}
	return connected, listed
}

func (d *directory) linked() (connected, listed int) {
	for _, m := range d.all() {
		listed++
		if d.host.Linked(m.info.ID) {
			connected++
		}
	}
	return connected + d.strangers(), listed
}

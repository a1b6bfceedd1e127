package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/moyai-network/moyai/p2p"
)

// Mode says what a host does in the DHT.
type Mode int

const (
	// Ask only: for a tenant, who is there for minutes.
	Ask Mode = iota
	// Follow answers others' questions for as long as the host is not known to
	// stand behind a router: for a provider.
	Follow
	// Answer always: for whoever is known to be reachable, such as a relay.
	Answer
)

// How often things are done, and how long they may take.
const (
	queryTimeout  = 10 * time.Second
	dialTimeout   = 5 * time.Second
	announceEvery = 10 * time.Minute
	announceRetry = 5 * time.Second
	validity      = 35 * time.Minute // of a role: three announcements may be lost
	recordAge     = 24 * time.Hour   // of a node record nobody has stored again
	joinEvery     = time.Minute      // how often it is looked whether anybody is known
	joinRetry     = 3 * time.Second  // while nobody is
	firstContacts = 4                // of the bootstrap peers, chosen by chance
)

// Config is what Join needs to know.
type Config struct {
	Mode Mode
	// Bootstrap are the peers to ask first; called whenever nobody is known. Nil
	// or empty: this host waits until others come.
	Bootstrap func(ctx context.Context) []peer.AddrInfo
	Logger    *slog.Logger // nil discards
}

// Finder is a host's place in the DHT. Close it before the host.
type Finder struct {
	host *p2p.Host
	dht  *dht.IpfsDHT
	cfg  Config
	log  *slog.Logger

	// nearby: the peers to ask first are of a private network, so that private
	// addresses lead somewhere.
	nearby atomic.Bool

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Join makes a host a member of the DHT, in the background: it returns at once.
func Join(h *p2p.Host, cfg Config) (*Finder, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = func(context.Context) []peer.AddrInfo { return nil }
	}
	f := &Finder{host: h, cfg: cfg, log: cfg.Logger}
	f.nearby.Store(true) // until peers with public addresses are known
	f.ctx, f.cancel = context.WithCancel(context.Background())
	mode := map[Mode]dht.ModeOpt{Ask: dht.ModeClient, Follow: dht.ModeAutoServer, Answer: dht.ModeServer}[cfg.Mode]
	var err error
	f.dht, err = dht.New(guarded{h.Host, h},
		dht.ProtocolPrefix(p2p.DHTPrefix), dht.Mode(mode),
		dht.Validator(record.NamespacedValidator{nodeSpace: nodeValidator{}}),
		dht.Datastore(newStore(maxStored)), dht.MaxRecordAge(recordAge),
		dht.ProviderManagerOpts(records.ProvideValidity(validity), records.ProviderAddrTTL(validity)),
		dht.AddressFilter(f.believable), dht.QueryFilter(dialable),
		dht.OnRequestHook(f.refuse),
	)
	if err != nil {
		f.cancel()
		return nil, fmt.Errorf("join the DHT: %w", err)
	}
	f.wg.Go(f.stayKnown)
	return f, nil
}

// Close leaves the DHT.
func (f *Finder) Close() error {
	f.cancel()
	f.wg.Wait()
	return f.dht.Close()
}

// Size is how many members of the DHT are known.
func (f *Finder) Size() int { return f.dht.RoutingTable().Size() }

// stayKnown looks for other members for as long as none is known. Those who are
// found tell of more.
func (f *Finder) stayKnown() {
	for f.ctx.Err() == nil {
		if f.Size() == 0 {
			f.enter(f.ctx)
			settle, cancel := context.WithTimeout(f.ctx, joinRetry)
			if f.await(settle) == nil {
				_ = f.dht.Bootstrap(f.ctx)
			}
			cancel()
		}
		wait := joinEvery
		if f.Size() == 0 {
			wait = joinRetry
		}
		select {
		case <-f.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// enter connects to some of the peers to ask first; libp2p tells the DHT of
// those that are members.
func (f *Finder) enter(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	peers := f.cfg.Bootstrap(ctx)
	f.nearby.Store(!anyPublic(peers))
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	var wg sync.WaitGroup
	for _, p := range peers[:min(len(peers), firstContacts)] {
		if p.ID == f.host.ID() {
			continue
		}
		wg.Go(func() {
			dial, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			if err := f.host.Connect(dial, p); err != nil {
				f.log.Debug("bootstrap peer not reached", "peer", p.ID, "err", err)
			}
		})
	}
	wg.Wait()
}

// await returns once another member is known.
func (f *Finder) await(ctx context.Context) error {
	for f.Size() == 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrAlone, ctx.Err())
		case <-f.ctx.Done():
			return errors.New("discovery is closed")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// ErrAlone means that no other member of the DHT is known.
var ErrAlone = errors.New("no other member of the DHT is known: name one with --bootstrap")

// believable drops addresses that cannot be of use, as a stranger may have made
// them up: private ones where the network is a public one.
func (f *Finder) believable(addrs []ma.Multiaddr) (out []ma.Multiaddr) {
	nearby := f.nearby.Load()
	for _, a := range addrs {
		if nearby || !manet.IsPrivateAddr(a) {
			out = append(out, a)
		}
		if len(out) == p2p.MaxAddrs {
			break
		}
	}
	return out
}

// dialable keeps peers out of a query that only a relay leads to: the DHT is not
// spoken over relays, which carry for trade.
func dialable(_ any, info peer.AddrInfo) bool {
	for _, a := range info.Addrs {
		if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err != nil {
			return true
		}
	}
	return false
}

func anyPublic(peers []peer.AddrInfo) bool {
	for _, p := range peers {
		for _, a := range p.Addrs {
			if manet.IsPublicAddr(a) {
				return true
			}
		}
	}
	return false
}

// Contacts turns the addresses under which machines are registered into peers to
// ask first: those with an address of their own, and the relays that carry the
// others.
func Contacts(machines []peer.AddrInfo) []peer.AddrInfo {
	at := map[peer.ID]int{}
	var out []peer.AddrInfo
	add := func(id peer.ID, a ma.Multiaddr) {
		i, known := at[id]
		if !known {
			i = len(out)
			at[id], out = i, append(out, peer.AddrInfo{ID: id})
		}
		if len(out[i].Addrs) < p2p.MaxAddrs {
			out[i].Addrs = append(out[i].Addrs, a)
		}
	}
	for _, m := range machines {
		for _, a := range m.Addrs {
			before, after := ma.SplitFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
			if len(after) == 0 {
				add(m.ID, a)
				continue
			}
			if relay, err := peer.AddrInfoFromP2pAddr(before); err == nil && len(relay.Addrs) > 0 {
				add(relay.ID, relay.Addrs[0])
			}
		}
	}
	return out
}

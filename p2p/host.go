package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/basic"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/moyai-network/moyai/p2p/limit"
)

// Config is what a host needs to know. The zero value of everything but Key is
// usable.
type Config struct {
	Key Key // required; a provider's node key

	// Listen are multiaddrs to listen on, QUIC and TCP. Nil means every interface
	// on a free port of each; an empty, non-nil slice means dial only.
	Listen []string
	// Announce replaces what the host tells others about its own addresses, for a
	// machine behind a port forward. Empty: what it listens on.
	Announce []string

	// Relays give a machine behind a home router an address: multiaddrs that end in
	// /p2p/ and the relay's name. The host keeps a place at each of them.
	Relays []string
	// Relay makes this host a relay for others. Nil: it carries nobody.
	Relay *RelayLimits
	// RelayBooks are where a relay enters what it carries. Nil: kept in memory.
	RelayBooks *RelayBooks
	// Probe lets other hosts try whether this one can be reached (AutoNAT v2), and
	// tries them for it.
	Probe bool
	// MapPorts asks the router to forward ports (UPnP, NAT-PMP). It is asked for
	// nothing while Announce or Relay say that the owner has seen to it.
	MapPorts bool
	// Line bounds what all streams carry together.
	Line LineLimits

	// ConnLow and ConnHigh are the connection manager's marks: above ConnHigh,
	// idle connections are closed until ConnLow remain. Zero means 128 and 256.
	ConnLow, ConnHigh int
	// MemoryBytes bounds what libp2p may buffer for all peers together. Zero
	// means 256 MiB.
	MemoryBytes int64
	// StreamRate limits new inbound streams per peer and protocol. Zero means 50
	// per second with a burst of 200.
	StreamRate limit.Rate
	// FrameTimeout is how long one frame may take from its first byte to its last,
	// and how long a Send may wait for a peer that does not read. It is what a
	// slow-loris gets. Zero means the constant of that name.
	FrameTimeout time.Duration

	Logger *slog.Logger // nil discards
}

// EnsureDefaults fills what was left zero.
func (c *Config) EnsureDefaults() {
	if c.Listen == nil {
		c.Listen = []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"}
	}
	if c.ConnHigh == 0 {
		c.ConnLow, c.ConnHigh = 128, 256
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 256 << 20
	}
	if c.StreamRate == (limit.Rate{}) {
		c.StreamRate = limit.Rate{PerSecond: 50, Burst: 200}
	}
	if c.FrameTimeout == 0 {
		c.FrameTimeout = FrameTimeout
	}
	if c.Relay != nil {
		c.Relay.EnsureDefaults()
		if c.RelayBooks == nil {
			c.RelayBooks, _ = OpenRelayBooks("") // of no file, so nothing can fail
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports the first field that makes no sense.
func (c *Config) Validate() error {
	switch {
	case c.Key.IsZero():
		return errors.New("host needs an identity key")
	case c.ConnLow < 0 || c.ConnLow > c.ConnHigh:
		return fmt.Errorf("connection marks %d and %d: the low one must not exceed the high one", c.ConnLow, c.ConnHigh)
	case c.FrameTimeout < 0:
		return fmt.Errorf("frame timeout %s is negative", c.FrameTimeout)
	case c.MemoryBytes < 16<<20:
		return fmt.Errorf("memory limit of %d bytes is too small: at least 16 MiB", c.MemoryBytes)
	case c.Relay != nil && len(c.Relays) > 0:
		return errors.New("a relay must be reachable itself: it cannot stand behind other relays")
	case c.Relay != nil:
		return c.Relay.Validate()
	}
	return c.Line.Validate()
}

// Host is a libp2p host with Moyai's protocols, limits and manners. Close it
// when done.
type Host struct {
	host.Host

	log      *slog.Logger
	guard    *guard
	carried  *carried
	books    *RelayBooks  // nil unless it is a relay
	relay    *relay.Relay // likewise
	traffic  *traffic
	reserved *reservations
	punch    punch
	streams  *limit.Limiter[streamKey]
	patience time.Duration // Config.FrameTimeout
	line     *line         // nil: as much as goes

	announced bool // the owner says under which addresses it is reached
	probes    bool // Config.Probe
	natMu     sync.Mutex
	nat       basichost.NATManager // nil without Config.MapPorts

	ctx    context.Context // ends at Close; handlers run under it
	cancel context.CancelFunc
	wg     sync.WaitGroup // handlers in flight
}

type streamKey struct {
	peer  peer.ID
	proto protocol.ID
}

// maxTrackedPeers bounds every per-peer table of a host.
const maxTrackedPeers = 8192

// New starts a host: it listens when New returns. Errors: a bad Config, or an
// address that cannot be listened on.
func New(cfg Config) (*Host, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, h, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if h.Host, err = libp2p.New(opts...); err != nil {
		return nil, fmt.Errorf("start libp2p host: %w", err)
	}
	if err := h.listens(cfg.Listen); err != nil {
		return nil, errors.Join(err, h.Host.Close())
	}
	h.guard.disconnect = func(p peer.ID) { _ = h.Network().ClosePeer(p) }
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for _, relay := range h.reserved.named {
		h.wg.Go(func() { h.reserved.keep(h.ctx, h, relay) })
	}
	if cfg.Probe {
		h.wg.Go(func() { h.watchReach(h.ctx) })
	}
	if cfg.Relay != nil {
		if err := h.startRelay(cfg.Relay); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

// listens reports an address that the host does not listen on. libp2p is content
// with any one of several: a provider whose port is taken would be met over the
// other transport only, and wonder.
func (h *Host) listens(wanted []string) error {
	got := slices.DeleteFunc(h.Network().ListenAddresses(), func(a ma.Multiaddr) bool { return a.Protocols()[0].Code == ma.P_CIRCUIT })
	if len(got) >= len(wanted) {
		return nil
	}
	for _, w := range wanted {
		whichever := strings.Contains(w+"/", "/tcp/0/") || strings.Contains(w+"/", "/udp/0/") // such a port is never taken
		if !whichever && !slices.ContainsFunc(got, func(a ma.Multiaddr) bool { return a.String() == w }) {
			return fmt.Errorf("cannot listen on %s: another program does, or this machine has no such address", w)
		}
	}
	return fmt.Errorf("listens on %v only, of %v", got, wanted)
}

func options(cfg Config) ([]libp2p.Option, *Host, error) {
	priv, err := cfg.Key.libp2p()
	if err != nil {
		return nil, nil, err
	}
	limits := rcmgr.NewFixedLimiter(resourceLimits(cfg))
	resources, err := rcmgr.NewResourceManager(limits)
	if err != nil {
		return nil, nil, fmt.Errorf("resource manager: %w", err)
	}
	conns, err := connmgr.NewConnManager(cfg.ConnLow, cfg.ConnHigh, connmgr.WithGracePeriod(20*time.Second))
	if err != nil {
		return nil, nil, fmt.Errorf("connection manager: %w", err)
	}
	h := &Host{
		log:      cfg.Logger,
		guard:    newGuard(time.Now),
		carried:  &carried{},
		books:    cfg.RelayBooks,
		traffic:  newTraffic(),
		patience: cfg.FrameTimeout, line: newLine(cfg.Line),
		streams: limit.New[streamKey](cfg.StreamRate, maxTrackedPeers, nil),

		announced: len(cfg.Announce) > 0 || cfg.Relay != nil, probes: cfg.Probe,
	}
	opts := []libp2p.Option{
		libp2p.Identity(priv),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(conns),
		libp2p.ConnectionGater(h.guard),
		libp2p.UserAgent("moyai/1"),
		libp2p.DisableMetrics(),
		libp2p.BandwidthReporter(h.traffic),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
	}
	// Relay explicitly: a host that listens nowhere would not dial through one.
	opts = append(opts, libp2p.EnableRelay(), libp2p.EnableHolePunching())
	if cfg.Relay != nil {
		opts = append(opts, libp2p.ForceReachabilityPublic()) // whoever makes it a relay says so
	}
	if len(cfg.Listen) == 0 {
		opts = append(opts, libp2p.NoListenAddrs)
	} else {
		opts = append(opts, libp2p.ListenAddrStrings(cfg.Listen...))
	}
	if cfg.Probe {
		opts = append(opts, libp2p.EnableAutoNATv2())
	}
	if cfg.MapPorts && !h.announced {
		opts = append(opts, libp2p.NATManager(h.natManager))
	}
	addrs, err := h.addresses(cfg)
	if err != nil {
		return nil, nil, err
	}
	opts = append(opts, libp2p.AddrsFactory(addrs))
	return opts, h, nil
}

// addresses makes what the host tells others about where it is: what it listens
// on or what its owner announces, and the relays that pass connections on.
func (h *Host) addresses(cfg Config) (func([]ma.Multiaddr) []ma.Multiaddr, error) {
	fixed, err := parseAddrs(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announced address: %w", err)
	}
	if h.reserved, err = newReservations(cfg.Relays, cfg.Logger); err != nil {
		return nil, err
	}
	return func(own []ma.Multiaddr) []ma.Multiaddr {
		if len(fixed) > 0 {
			own = fixed
		}
		return append(slices.Clone(own), h.reserved.circuits()...)
	}, nil
}

// Streams at once: of a host, and with one peer. A provider answers each order of
// an array job on a stream of its own, so a peer may need some hundreds.
const (
	maxStreams     = 8192
	maxPeerStreams = 512

	maxDHTStreams     = 1024
	maxPeerDHTStreams = 8
)

// resourceLimits bounds streams, connections and memory, in all and per peer, so
// that no single stranger can take the share of the others.
func resourceLimits(cfg Config) rcmgr.ConcreteLimitConfig {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	conns := 4 * cfg.ConnHigh
	all := rcmgr.ResourceLimits{Streams: 2 * maxStreams, StreamsInbound: maxStreams, StreamsOutbound: maxStreams}
	onePeer := rcmgr.ResourceLimits{Streams: 2 * maxPeerStreams, StreamsInbound: maxPeerStreams, StreamsOutbound: maxPeerStreams}
	limits := rcmgr.PartialLimitConfig{
		System: all, Transient: all, ProtocolDefault: all,
		PeerDefault: onePeer, ProtocolPeerDefault: onePeer,
	}
	limits.System.Conns, limits.System.ConnsInbound, limits.System.ConnsOutbound =
		rcmgr.LimitVal(conns), rcmgr.LimitVal(conns/2), rcmgr.LimitVal(conns)
	limits.System.Memory = rcmgr.LimitVal64(cfg.MemoryBytes)
	limits.PeerDefault.Conns, limits.PeerDefault.ConnsInbound, limits.PeerDefault.ConnsOutbound = 8, 8, 8
	limits.PeerDefault.Memory = rcmgr.LimitVal64(cfg.MemoryBytes / 4)
	// Strangers' questions to the DHT may not take what trade needs.
	limits.Protocol = map[protocol.ID]rcmgr.ResourceLimits{DHTProtocol: {
		Streams: maxDHTStreams, StreamsInbound: maxDHTStreams / 2, StreamsOutbound: maxDHTStreams / 2,
	}}
	limits.ProtocolPeer = map[protocol.ID]rcmgr.ResourceLimits{DHTProtocol: {
		Streams: 2 * maxPeerDHTStreams, StreamsInbound: maxPeerDHTStreams, StreamsOutbound: maxPeerDHTStreams,
	}}
	return limits.Build(scaling.Scale(cfg.MemoryBytes, conns))
}

// Close ends every stream and connection and waits for the handlers.
func (h *Host) Close() error {
	h.cancel()
	if h.relay != nil {
		_ = h.relay.Close()
	}
	err := h.Host.Close()
	h.wg.Wait()
	return err
}

// Node is the host's public key, 32 bytes.
func (h *Host) Node() []byte {
	node, _ := NodeFromPeerID(h.ID()) // New made the identity from an ed25519 key
	return node
}

// AddrStrings are the addresses others can dial, without the peer id.
func (h *Host) AddrStrings() []string {
	addrs := h.Addrs()
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

// SeenAs are all addresses that this host listens on, has its router forward, or
// is seen under by several peers, whether or not others are told of them.
func (h *Host) SeenAs() []string {
	addrs := h.Addrs()
	if all, ok := h.Host.(interface{ AllAddrs() []ma.Multiaddr }); ok {
		addrs = append(all.AllAddrs(), addrs...)
	}
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

// AddrInfo is how others name and reach this host.
func (h *Host) AddrInfo() peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// reach makes sure that there is a connection, dialling to.Addrs (and what the
// peerstore knows) if not. It costs nothing on a warm connection.
func (h *Host) reach(ctx context.Context, to peer.AddrInfo) error {
	if to.ID == h.ID() {
		return errors.New("a host cannot dial itself")
	}
	if h.Linked(to.ID) {
		return nil
	}
	if err := h.Connect(ctx, to); err != nil {
		return fmt.Errorf("reach %s: %w", to.ID, err)
	}
	return nil
}

// Handle installs fn as the handler of a protocol: banned and too eager peers are
// turned away first, and Close waits for fn. fn owns the stream.
func (h *Host) Handle(id protocol.ID, fn func(ctx context.Context, s *Stream)) (remove func()) {
	h.HandleRaw(id, func(raw network.Stream) { fn(h.ctx, newStream(h, raw)) })
	return func() { h.RemoveStreamHandler(id) }
}

// HandleRaw is Handle for a protocol that somebody else implements.
func (h *Host) HandleRaw(id protocol.ID, fn network.StreamHandler) {
	h.SetStreamHandler(id, func(raw network.Stream) {
		h.wg.Add(1)
		defer h.wg.Done()
		from := raw.Conn().RemotePeer()
		if h.ctx.Err() != nil || h.guard.banned(from) || !h.streams.Allow(streamKey{from, id}) {
			h.log.Debug("refused stream", "protocol", string(id), "peer", from)
			_ = raw.ResetWithError(network.StreamRateLimited)
			return
		}
		fn(raw)
	})
}

// ParseAddrInfo joins a peer and its multiaddrs (without /p2p/…). Unparsable
// addresses are an error that names the first.
func ParseAddrInfo(id peer.ID, addrs []string) (peer.AddrInfo, error) {
	if err := id.Validate(); err != nil {
		return peer.AddrInfo{}, fmt.Errorf("peer id: %w", err)
	}
	parsed, err := parseAddrs(addrs)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	return peer.AddrInfo{ID: id, Addrs: parsed}, nil
}

func parseAddrs(addrs []string) ([]ma.Multiaddr, error) {
	out := make([]ma.Multiaddr, len(addrs))
	for i, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", s, err)
		}
		out[i] = a
	}
	return out, nil
}

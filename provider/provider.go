package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/internal/flock"
	"github.com/moyai-network/moyai/internal/lifecycle"
	"github.com/moyai-network/moyai/internal/steady"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/p2p/discovery"
	"github.com/moyai-network/moyai/p2p/gossip"
	"github.com/moyai-network/moyai/provider/idle"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/provider/sshd"
	"github.com/moyai-network/moyai/wire"
)

// minUnacked is the least max_unacked this daemon serves: receipts come every
// second, so anything below two of them would stop work that is going well.
const minUnacked = 2 * time.Second

// Provider is one daemon. Make it with New, run it once with Run.
type Provider struct {
	cfg        Config
	group      lifecycle.Group
	operator   string // bech32
	host       *p2p.Host
	desk       *desk
	watcher    *watcher
	stall      *stall
	member     *membership
	closes     *closes
	neighbours *neighbours
	owner      *ownership
	disk       *diskGuard
	finder     *discovery.Finder
	orders     *gossip.Orders
	server     *content.Server
	cancel     context.CancelFunc // ends the desk
	ready      chan struct{}
}

// New opens the journal, takes the home's lock and starts listening, so that
// whatever can fail for a reason the operator must mend fails here. Nothing is
// bid, registered or resumed before Run. A Provider that is never run is closed
// with Close.
func New(cfg Config) (_ *Provider, err error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, open := range []func() error{p.openHome, p.openDesk, p.openHost, p.openDiscovery, p.openAccounts, p.openMarket} {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// openHome takes the lock.
func (p *Provider) openHome() error {
	if err := os.MkdirAll(filepath.Join(p.cfg.Home, "work"), 0o700); err != nil {
		return fmt.Errorf("provider home: %w", err)
	}
	unlock, err := lockHome(p.cfg.Home)
	if err != nil {
		return err
	}
	p.group.Add(lifecycle.Item{Name: "lock", Close: unlock})
	return nil
}

// lockHome takes a home's lock. ErrRunning if somebody else has it.
func lockHome(home string) (unlock func() error, err error) {
	lock, err := os.OpenFile(filepath.Join(home, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("provider home: %w", err)
	}
	if err := flock.Try(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrRunning, home), lock.Close())
	}
	return lock.Close, nil
}

func (p *Provider) openDesk() error {
	signer, err := wire.NewEd25519Signer(p.cfg.NodeKey.Seed())
	if err != nil {
		return err
	}
	hostKey, err := sshd.HostKey(p.cfg.NodeKey.Seed())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.disk = newDiskGuard(p.cfg.Home, p.cfg.ReserveBytes)
	d := &desk{
		chainID: p.cfg.Chain.ChainID(), node: p.cfg.NodeKey.Public(), signer: signer, home: p.cfg.Home, clock: steady.Now,
		seed: p.cfg.NodeKey.Seed(), door: newDoor(hostKey), gpus: newGPUs(p.cfg.GPUs), runtimes: p.cfg.Runtimes, log: p.cfg.Logger,
		receiptEvery: receiptEvery, prefetchBytes: p.cfg.PrefetchBytes, prefetches: make(chan struct{}, maxPrefetches), diskFull: p.disk.full.Load,
		keepResults: p.cfg.KeepResults,
		ctx:         ctx, byID: map[journal.ID]*agreement{}, byOrder: map[[32]byte]*agreement{},
	}
	d.journal, err = journal.Open(ctx, journal.Options{
		Path: filepath.Join(p.cfg.Home, "journal.db"), ChainID: d.chainID, Node: d.node,
	})
	if errors.Is(err, journal.ErrForeign) {
		err = fmt.Errorf("%w: %w", ErrWrongHome, err)
	}
	if err != nil {
		return err
	}
	p.group.Add(lifecycle.Item{Name: "journal", Close: d.journal.Close})
	d.alert = func(id, severity, text string) {
		d.log.Warn("alert", "id", id, "severity", severity, "text", text)
		// Not waited for: an alert may be about the journal itself.
		go func() {
			_ = d.journal.Raise(ctx, journal.Alert{ID: id, Severity: severity, Text: text, SinceMS: d.now()})
		}()
	}
	if d.pantry, err = openPantry(&p.cfg); err != nil {
		return err
	}
	if d.attic, err = openAttic(d, &p.cfg); err != nil {
		return err
	}
	for _, r := range p.cfg.Runtimes {
		p.group.Add(lifecycle.Item{Name: fmt.Sprintf("runtime %s (%s)", r.Name(), r.Tier()), Close: r.Close})
	}
	if d.egress = p.cfg.Egress; d.egress != nil {
		if err := writeOwn(p.cfg.Home, addressesOf(p.cfg.Announce)); err != nil {
			return fmt.Errorf("egress: %w", err)
		}
	}
	d.slots = slots.New(newTariff(&p.cfg).total, d.generations(clientLedger{p.cfg.Chain}))
	p.desk = d
	return nil
}

func (p *Provider) openHost() error {
	host, err := p2p.New(p2p.Config{
		Key: p.cfg.NodeKey, Listen: p.cfg.Listen, Announce: p.cfg.Announce, Relays: p.cfg.Relays,
		Probe: true, MapPorts: !p.cfg.KeepPorts, Line: p.cfg.Line, Logger: p.cfg.Logger,
	})
	if err != nil {
		return err
	}
	p.host = host
	p.group.Add(lifecycle.Item{Name: "host", Close: host.Close})
	p.server = content.Serve(host, p.desk.mayFetch)
	p.server.OnFail(func(remote peer.ID, err error) { p.cfg.Logger.Debug("content not served", "peer", remote, "err", err) })
	p.group.Add(lifecycle.Item{Name: "content", Close: func() error { p.server.Close(); return nil }})
	p.desk.wares = &shelf{host: host, server: p.server}
	host.Acknowledge(p.desk.chainID, p.desk.signer)
	return nil
}

func (p *Provider) openAccounts() error {
	a, err := p.unlock()
	if err != nil {
		return err
	}
	p.operator = a.address
	p.watcher = newWatcher(p.desk, clientLedger{p.cfg.Chain})
	p.closes = newCloses(p.desk, a.closing, a.acting, p.watcher.ask)
	p.desk.counter = p.closes
	p.stall = newStall(p.desk, &p.cfg, a.account, p.watcher.now)
	p.owner = &ownership{rules: p.cfg.Owner, d: p.desk, stall: p.stall, sensor: idle.NewSensor(idle.Eyes{
		Busy: idle.Processors, Ours: p.desk.used, FullScreen: idle.FullScreen,
		GPU: func(ctx context.Context) (uint, bool) {
			if p.desk.gpus.rented() {
				return 0, false // whose use it is cannot be told
			}
			return machine.GPUUse(ctx, machine.Host())
		},
	})}
	p.stall.offer = func(ctx context.Context, tenant peer.AddrInfo, offer p2p.BidOffer) (bidStream, error) {
		return p.host.OfferBid(ctx, tenant, offer)
	}
	p.member = &membership{
		chainID: p.desk.chainID, cfg: &p.cfg, registry: p.cfg.Chain, acting: a.acting, consent: a.consent, address: a.address, account: a.account,
		signer: p.desk.signer, node: p.desk.node, addrs: p.host.AddrStrings, moved: p.host.RelayNews(), stall: p.stall, alert: p.desk.alert,
		log: p.cfg.Logger, joined: make(chan struct{}),
	}
	return nil
}

func (p *Provider) openMarket() error {
	orders, err := gossip.Join(p.host, gossip.Config{ChainID: p.desk.chainID, Funds: p.funds, Logger: p.cfg.Logger})
	if err != nil {
		return err
	}
	p.orders = orders
	p.neighbours = &neighbours{
		host: p.host, log: p.cfg.Logger, unlisted: func() bool { return p.stall.joining() != nil },
		listeners: func() int { return len(orders.Peers()) },
		contacts:  p.contacts,
	}
	p.group.Add(lifecycle.Item{Name: "gossip", Close: func() error { orders.Close(); return nil }})
	c, err := newControl(p)
	if err != nil {
		return err
	}
	p.group.Add(lifecycle.Item{Name: "control", Run: c.run, Close: c.close})
	return nil
}

// funds tells gossip whether an account can open a lease at all.
func (p *Provider) funds(ctx context.Context, payer []byte) gossip.Funds {
	balance, err := p.cfg.Chain.Balance(ctx, chain.Address(payer), p.cfg.Prices.Denom)
	if err != nil {
		return gossip.Funds{} // unknown: ignored, not held against anybody
	}
	return gossip.Funds{Known: true, Funded: !balance.IsZero()}
}

// Run registers the provider if need be and possible, resumes what the journal holds, and
// serves until ctx ends. It then stops bidding, leaves running tasks to
// themselves (a restart finds them again) and closes everything. The end of ctx
// is not an error.
func (p *Provider) Run(ctx context.Context) error {
	if err := p.desk.resume(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	// Agreements end after everything that feeds them, and before what they use.
	p.group.Add(lifecycle.Item{Name: "agreements", Close: p.endDesk})
	p.group.Add(lifecycle.Item{Name: "disk", Run: func(ctx context.Context) error { return p.disk.run(ctx, p.desk) }})
	p.group.Add(lifecycle.Item{Name: "chain events", Run: p.watcher.run})
	p.group.Add(lifecycle.Item{Name: "chain questions", Run: p.watcher.answer})
	p.group.Add(lifecycle.Item{Name: "closes", Run: p.closes.run})
	p.group.Add(lifecycle.Item{Name: "membership", Run: p.member.run})
	p.group.Add(lifecycle.Item{Name: "being found", Run: p.beFound})
	p.group.Add(lifecycle.Item{Name: "neighbours", Run: p.neighbours.run})
	p.group.Add(lifecycle.Item{Name: "lease streams", Run: p.serveLeases})
	p.group.Add(lifecycle.Item{Name: "visits", Run: p.serveVisits})
	p.group.Add(lifecycle.Item{Name: "owner", Run: p.owner.run})
	p.group.Add(lifecycle.Item{Name: "market", Run: p.serveMarket})
	p.group.Add(lifecycle.Item{Name: "housekeeping", Run: p.houseKeeping})
	if p.desk.attic != nil {
		p.group.Add(lifecycle.Item{Name: "volumes", Run: p.serveVolumes})
	}
	if p.cfg.Egress != nil {
		p.group.Add(lifecycle.Item{Name: "egress", Run: p.tendEgress})
	}
	return p.group.Run(ctx)
}

func (p *Provider) endDesk() error {
	p.desk.end(p.cancel)
	for _, a := range p.desk.all() {
		a.job.release() // running tasks are left alone
	}
	return nil
}

func (p *Provider) serveLeases(ctx context.Context) error {
	remove := p.host.HandleLeaseStreams(func(ctx context.Context, l *p2p.LeaseStream, hello p2p.Hello) {
		if a := p.desk.find([20]byte(hello.LeaseID)); a != nil && a.unopened() {
			p.watcher.ask(a.row.ID) // the tenant may have heard of the opening first
		}
		p.desk.attach(ctx, l, []byte(l.Peer()), hello)
	})
	defer remove()
	<-ctx.Done()
	return nil
}

// serveMarket waits for everything a bid needs: the chain's rules, its head, and
// the registration.
func (p *Provider) serveMarket(ctx context.Context) error {
	sub, err := p.orders.Subscribe()
	if err != nil {
		return err
	}
	defer sub.Close()
	for {
		params, err := p.cfg.Chain.MarketParams(ctx)
		if err == nil {
			r := rules(params)
			p.stall.market.Store(&r)
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	defer p.host.HandleQuotes(p.stall.quote)()
	go func() {
		select {
		case <-p.member.joined:
			close(p.ready)
		case <-ctx.Done():
		}
	}()
	return p.stall.run(ctx, sub)
}

const (
	houseKeepingEvery = 10 * time.Minute
	historyKept       = 30 * 24 * time.Hour
)

// houseKeeping prunes the journal and keeps up with governance.
func (p *Provider) houseKeeping(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(houseKeepingEvery):
		}
		if err := p.desk.journal.Prune(ctx, unixMS(time.Now().Add(-historyKept))); err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("journal not pruned", "err", err)
		}
		if params, err := p.cfg.Chain.MarketParams(ctx); err == nil {
			r := rules(params)
			p.stall.market.Store(&r)
		}
	}
}

// Close frees what New took. It is for a Provider that was never run; Run closes
// by itself.
func (p *Provider) Close() error {
	if p.cancel != nil {
		defer p.cancel()
	}
	return p.group.Close()
}

// Joining reports whether this machine is unknown to the chain as yet and waits
// for a first lease to register it.
func (p *Provider) Joining() bool { return p.stall.joining() != nil }

// Ready is closed once orders are heard and answered.
func (p *Provider) Ready() <-chan struct{} { return p.ready }

// AddrStrings are the addresses others can dial.
func (p *Provider) AddrStrings() []string { return p.host.AddrStrings() }

// AddrInfo is how others name and reach this provider.
func (p *Provider) AddrInfo() peer.AddrInfo { return p.host.AddrInfo() }

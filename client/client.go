package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/p2p/gossip"
)

// Config is what a Client needs to know.
type Config struct {
	RPC            string    // the chain's RPC endpoint, "http://127.0.0.1:26657"
	Home           string    // folder for keys and journal
	KeyringBackend string    // chain.BackendOS, BackendFile or BackendTest
	Key            string    // name of the paying account; empty: the keyring's only one
	Passphrase     io.Reader // where the keyring's passphrase is read from; may be nil
	// Keyless leaves the keyring alone: enough to watch and to enter what this home
	// rents, not to rent or to close.
	Keyless bool

	Listen    []string     // multiaddrs; nil: every interface, free ports
	Bootstrap []string     // peers that discovery asks first, each ending in /p2p/NAME
	Logger    *slog.Logger // nil: discard

	// Timing; zero means the default.
	BidWindow  time.Duration // wait for better bids after the first: 40 ms
	BidTimeout time.Duration // wait for a first bid: 3 s
	LostAfter  time.Duration // silence after which a provider is given up: 20 s
	CloseAfter time.Duration // wait for the provider's close before our own: 10 s
}

// EnsureDefaults fills what was left zero.
func (c *Config) EnsureDefaults() {
	setDefault(&c.BidWindow, 40*time.Millisecond)
	setDefault(&c.BidTimeout, 3*time.Second)
	setDefault(&c.LostAfter, 20*time.Second)
	setDefault(&c.CloseAfter, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate reports the first field that makes no sense.
func (c *Config) Validate() error {
	switch {
	case c.RPC == "":
		return errors.New("no chain endpoint given: set the RPC address, for example http://127.0.0.1:26657")
	case c.Home == "":
		return errors.New("no home folder given")
	}
	_, err := p2p.ParseBootstrap(c.Bootstrap)
	return err
}

// Client is a tenant. It may be used by many goroutines.
type Client struct {
	cfg     Config
	log     *slog.Logger
	chain   *chain.Client
	sender  *chain.Sender // nil with keyErr
	keyErr  error
	journal *journal.Journal
	host    *p2p.Host
	orders  *gossip.Orders
	content *content.Server
	peers   *directory

	online sync.Mutex // guards the start of the host

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	params   *marketv1.Params
	bids     map[[32]byte]chan *p2p.ReceivedBid // by order, while bids are collected
	readers  map[[32]byte]map[peer.ID]bool      // who may fetch what an order needs
	watchers map[string]func(chain.Event)       // by lease id bytes; must not block
}

// New dials the chain and opens keyring and journal. The libp2p host starts with
// the first call that needs providers, or with Connect. ctx bounds only New
// itself.
func New(ctx context.Context, cfg Config) (_ *Client, err error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger,
		bids:     map[[32]byte]chan *p2p.ReceivedBid{},
		readers:  map[[32]byte]map[peer.ID]bool{},
		watchers: map[string]func(chain.Event){},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	if c.journal, err = journal.Open(ctx, cfg.Home); err != nil {
		return nil, err
	}
	if c.chain, err = chain.Dial(ctx, cfg.RPC); err != nil {
		return nil, err
	}
	// Quotes and listings need no account, so its absence is told when it is used.
	c.keyErr = c.openKey()
	return c, nil
}

// Connect starts the libp2p host and connects to providers in the background, so
// that a later Run finds them warm. Calling it again does nothing.
func (c *Client) Connect() error {
	c.online.Lock()
	defer c.online.Unlock()
	if c.peers != nil {
		return nil
	}
	if c.ctx.Err() != nil {
		return errors.New("client is closed")
	}
	if err := c.startHost(); err != nil {
		return err
	}
	c.wg.Go(c.watchChain)
	c.wg.Go(c.peers.keep)
	return nil
}

func (c *Client) openKey() error {
	if c.cfg.Keyless {
		return errors.New("client was opened without keys")
	}
	keys, err := chain.OpenKeys(c.cfg.Home, c.cfg.KeyringBackend, c.cfg.Passphrase)
	if err != nil {
		return err
	}
	name := c.cfg.Key
	if name == "" {
		list, err := keys.List()
		if err != nil {
			return err
		}
		if len(list) != 1 {
			return fmt.Errorf("the keyring in %s has %d keys: say which one pays", c.cfg.Home, len(list))
		}
		name = list[0].Name
	}
	c.sender, err = c.chain.Sender(keys, name)
	return err
}

func (c *Client) startHost() error {
	// A fresh identity per process: two processes of one home must not look like
	// one peer. What gives access is the receipt key, through wire.Access.
	key, err := p2p.NewKey()
	if err != nil {
		return err
	}
	if c.host == nil {
		if c.host, err = p2p.New(p2p.Config{Key: key, Listen: c.cfg.Listen, Logger: c.log}); err != nil {
			return err
		}
	}
	if c.orders, err = gossip.Join(c.host, gossip.Config{ChainID: c.chain.ChainID(), Logger: c.log}); err != nil {
		return err
	}
	c.content = content.Serve(c.host, c.mayFetch)
	c.host.HandleBids(c.receiveBid)
	bootstrap, err := p2p.ParseBootstrap(c.cfg.Bootstrap)
	if err != nil {
		return err
	}
	c.peers = newDirectory(c.ctx, c.chain, c.host, bootstrap, c.log) // last: it tells that all is there
	return nil
}

// Close ends every stream of this process; jobs go on at their providers, as far
// as receipts were acknowledged or an Away covers them.
func (c *Client) Close() error {
	c.cancel()
	c.online.Lock()
	defer c.online.Unlock()
	var errs []error
	if c.content != nil {
		c.content.Close()
	}
	if c.orders != nil {
		c.orders.Close()
	}
	if c.host != nil {
		errs = append(errs, c.host.Close())
	}
	c.wg.Wait()
	if c.chain != nil {
		errs = append(errs, c.chain.Close())
	}
	if c.journal != nil {
		errs = append(errs, c.journal.Close())
	}
	return errors.Join(errs...)
}

// Chain is the client's way to the ledger.
func (c *Client) Chain() *chain.Client { return c.chain }

// Sender signs and sends transactions of the paying account; the error says why
// there is none.
func (c *Client) Sender() (*chain.Sender, error) { return c.sender, c.keyErr }

// marketParams are read once: governance changes them rarely, and the chain
// checks everything again.
func (c *Client) marketParams(ctx context.Context) (marketv1.Params, error) {
	c.mu.Lock()
	known := c.params
	c.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	p, err := c.chain.MarketParams(ctx)
	if err != nil {
		return marketv1.Params{}, err
	}
	c.mu.Lock()
	c.params = &p
	c.mu.Unlock()
	return p, nil
}

// mayFetch admits providers that were shown the order's manifest. Their peer id
// is their node key, so no signed access is needed.
func (c *Client) mayFetch(_ context.Context, remote peer.ID, get content.Get) error {
	if len(get.Scope) != 32 {
		return errors.New("scope is not an order")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readers[[32]byte(get.Scope)][remote] {
		return fmt.Errorf("%s was not chosen for order %x", remote, get.Scope[:4])
	}
	return nil
}

func (c *Client) allowFetch(order [32]byte, node peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readers[order] == nil {
		c.readers[order] = map[peer.ID]bool{}
	}
	c.readers[order][node] = true
}

func (c *Client) forgetFetch(order [32]byte) {
	c.content.Remove(order[:])
	c.mu.Lock()
	delete(c.readers, order)
	c.mu.Unlock()
}

// watchChain hands the events of leases to whoever attends to them.
func (c *Client) watchChain() {
	f := c.chain.Follow(0)
	for {
		b, err := f.Next(c.ctx)
		if err != nil {
			return // closed, or a node that prunes faster than we read: attendants also ask
		}
		for _, e := range b.Typed() {
			if id := leaseOf(e); id != nil {
				c.mu.Lock()
				tell := c.watchers[string(id)]
				c.mu.Unlock()
				if tell != nil {
					tell(e)
				}
			}
		}
	}
}

func leaseOf(e chain.Event) []byte {
	switch m := e.Msg.(type) {
	case *marketv1.EventLeaseSettling:
		return m.LeaseId
	case *marketv1.EventLeaseUpdated:
		return m.LeaseId
	case *marketv1.EventLeaseClosed:
		return m.LeaseId
	}
	return nil
}

func (c *Client) watchLease(id []byte, tell func(chain.Event)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[string(id)] = tell
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, string(id))
	}
}

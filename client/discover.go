package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p/discovery"
)

const (
	// enoughPeers is with how many connected providers a tenant looks for no others
	// beyond the registry.
	enoughPeers = 8
	// meetEvery is how often others are looked for all the same.
	meetEvery = 3 * time.Minute
	// maxStrangers bounds how many providers that the registry does not list are
	// dialled, and maxMoved how many that it lists under addresses where they are not.
	maxStrangers = 16
	maxMoved     = 16
	// discoverWait is how long a job waits for a first search if the registry alone
	// led to nobody.
	discoverWait = 10 * time.Second
)

// beyond is what a tenant knows of providers beyond the registry: where those are
// that have moved, and some that are not registered yet. It joins the DHT only
// when it is needed, since most tenants are there for a moment.
type beyond struct {
	bootstrap []peer.AddrInfo

	mu     sync.Mutex
	finder *discovery.Finder
	moved  map[peer.ID]peer.AddrInfo // by what they themselves have signed
	others map[peer.ID]peer.AddrInfo // not in the registry

	met      time.Time // when strangers were looked for last; discover's own
	once     sync.Once
	searched chan struct{} // closed after the first search
}

func newBeyond(bootstrap []peer.AddrInfo) beyond {
	return beyond{bootstrap: bootstrap, moved: map[peer.ID]peer.AddrInfo{}, others: map[peer.ID]peer.AddrInfo{}, searched: make(chan struct{})}
}

func (b *beyond) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.finder != nil {
		_ = b.finder.Close()
	}
}

// discover looks for listed machines that were not reached, and for providers
// beyond the registry while few are connected.
func (d *directory) discover(ctx context.Context) {
	defer d.beyond.once.Do(func() { close(d.beyond.searched) })
	var lost []machine
	linked := 0
	for _, m := range d.all() {
		if d.host.Linked(m.info.ID) {
			linked++
		} else if len(lost) < maxMoved {
			lost = append(lost, m)
		}
	}
	few := linked < enoughPeers && (linked+d.strangers() == 0 || time.Since(d.beyond.met) > meetEvery)
	if len(lost) == 0 && !few || len(d.contacts(ctx)) == 0 {
		return
	}
	finder, err := d.finder()
	if err != nil {
		d.log.Warn("nobody is looked for beyond the registry", "err", err)
		return
	}
	var wg sync.WaitGroup
	for _, m := range lost {
		wg.Go(func() { d.follow(ctx, finder, m) })
	}
	if few {
		d.beyond.met = time.Now()
		wg.Go(func() { d.meet(ctx, finder) })
	}
	wg.Wait()
}

// finder joins the DHT the first time.
func (d *directory) finder() (*discovery.Finder, error) {
	d.beyond.mu.Lock()
	defer d.beyond.mu.Unlock()
	if d.beyond.finder != nil {
		return d.beyond.finder, nil
	}
	f, err := discovery.Join(d.host, discovery.Config{Mode: discovery.Ask, Bootstrap: d.contacts, Logger: d.log})
	if err == nil {
		d.beyond.finder = f
	}
	return f, err
}

func (d *directory) contacts(context.Context) []peer.AddrInfo {
	var machines []peer.AddrInfo
	for _, m := range d.all() {
		machines = append(machines, m.info)
	}
	return append(slices.Clone(d.beyond.bootstrap), discovery.Contacts(machines)...)
}

// follow dials a machine under the addresses that it has signed last.
func (d *directory) follow(ctx context.Context, f *discovery.Finder, m machine) {
	info, err := f.Locate(ctx, d.chain.ChainID(), m.info.ID)
	if err != nil {
		d.log.Debug("provider not found", "provider", m.Operator, "err", err)
		return
	}
	d.beyond.mu.Lock()
	d.beyond.moved[info.ID] = info
	d.beyond.mu.Unlock()
	d.dial(ctx, info)
}

// meet dials providers that the registry does not list, so that they hear orders,
// too. What they are shows in their bids.
func (d *directory) meet(ctx context.Context, f *discovery.Finder) {
	var wg sync.WaitGroup
	for _, info := range f.Find(ctx, discovery.Provider, "", maxStrangers) {
		if d.find(info.ID).info.ID != "" {
			continue
		}
		d.beyond.mu.Lock()
		if len(d.beyond.others) >= 4*maxStrangers {
			clear(d.beyond.others)
		}
		d.beyond.others[info.ID] = info
		d.beyond.mu.Unlock()
		wg.Go(func() { d.dial(ctx, info) })
	}
	wg.Wait()
}

func (d *directory) dial(ctx context.Context, info peer.AddrInfo) {
	if d.host.Linked(info.ID) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := d.host.Connect(ctx, info); err != nil {
		d.log.Debug("provider not reached", "peer", info.ID, "err", err)
	}
}

// strangers are the connected providers that the registry does not list.
func (d *directory) strangers() (n int) {
	d.beyond.mu.Lock()
	others := slices.Collect(maps.Keys(d.beyond.others))
	d.beyond.mu.Unlock()
	for _, id := range others {
		if d.host.Linked(id) {
			n++
		}
	}
	return n
}

// movedTo are the addresses that discovery found of a provider.
func (d *directory) movedTo(id peer.ID) (info peer.AddrInfo) {
	d.beyond.mu.Lock()
	defer d.beyond.mu.Unlock()
	if info, ok := d.beyond.moved[id]; ok {
		return info
	}
	return d.beyond.others[id]
}

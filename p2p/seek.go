package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/moyai-network/moyai/p2p/limit"
)

const (
	// relaysSought is at how many relays a host keeps a place if its owner named
	// none: one may die.
	relaysSought = 2
	// relayCandidates is how many a search should bring.
	relayCandidates = 16
	// seekSoon and seekLate are how long a search waits for the next: the first
	// after a loss, the second after many in vain.
	seekSoon = time.Second
	seekLate = time.Minute
	// relayShunned is for how long a relay that refused or failed is not asked again.
	relayShunned = time.Minute
	// namedFirst is how long named relays may take before others are looked for.
	namedFirst = 10 * time.Second
)

// RelayFinder suggests at most `most` relays, the preferred ones first. They are
// tried, not trusted.
type RelayFinder func(ctx context.Context, most int) []peer.AddrInfo

// SeekRelays keeps places at relays that find suggests for as long as this host
// needs them: while nobody can connect to it from outside and no relay that its
// owner named passes connections on. It returns at once.
func (h *Host) SeekRelays(find RelayFinder) {
	s := &seeker{
		host: h, find: find, since: time.Now(), kept: map[peer.ID]peer.AddrInfo{},
		shunned: limit.NewTable[peer.ID, time.Time](maxTrackedPeers), over: make(chan ended),
	}
	h.wg.Go(func() { s.run(h.ctx) })
}

// seeker looks for relays, and forgets those that are lost.
type seeker struct {
	host  *Host
	find  RelayFinder
	since time.Time

	kept    map[peer.ID]peer.AddrInfo // asked, or holding a place there
	shunned *limit.Table[peer.ID, time.Time]
	over    chan ended // from whoever held a place
}

type ended struct {
	relay peer.ID
	err   error
}

func (s *seeker) run(ctx context.Context) {
	wait := seekSoon
	for {
		if missing := s.missing(); missing > 0 {
			if s.adopt(ctx, s.find(ctx, relayCandidates), missing) < missing {
				wait = min(2*wait, seekLate)
			} else {
				wait = seekSoon
			}
		}
		select {
		case <-ctx.Done():
			for range s.kept { // hold ends with ctx; none may be left waiting to say so
				<-s.over
			}
			return
		case e := <-s.over:
			s.drop(e)
			wait = seekSoon
		case <-time.After(wait):
		}
	}
}

// missing is how many relays are to be looked for now.
func (s *seeker) missing() int {
	if !s.needed() {
		return 0
	}
	return relaysSought - len(s.kept)
}

// needed reports whether this host depends on relays that nobody named.
func (s *seeker) needed() bool {
	if _, direct := s.host.direct(); direct {
		return false
	}
	named := s.host.reserved.named
	if len(named) == 0 {
		return true
	}
	for _, id := range s.host.reserved.holders() {
		if _, sought := s.kept[id]; !sought {
			return false
		}
	}
	return time.Since(s.since) > namedFirst
}

// adopt asks at most n of the relays for a place, one at a time each in its own
// goroutine, and returns how many it asked. Relays at distinct addresses come
// first: two of one machine die together.
func (s *seeker) adopt(ctx context.Context, found []peer.AddrInfo, n int) (asked int) {
	for _, distinct := range []bool{true, false} {
		for _, relay := range found {
			if asked == n {
				return asked
			}
			if s.passOver(relay, distinct) {
				continue
			}
			asked++
			s.kept[relay.ID] = relay
			s.host.wg.Go(func() {
				err := s.host.reserved.hold(ctx, s.host, relay, func() bool {
					_, direct := s.host.direct()
					return !direct
				})
				s.over <- ended{relay.ID, err}
			})
		}
	}
	return asked
}

func (s *seeker) passOver(relay peer.AddrInfo, distinct bool) bool {
	if _, kept := s.kept[relay.ID]; kept || relay.ID == s.host.ID() || s.host.guard.banned(relay.ID) {
		return true
	}
	if until, shunned := s.shunned.Get(relay.ID); shunned && time.Now().Before(until) {
		return true
	}
	if !distinct {
		return false
	}
	for _, k := range s.kept {
		if shareIP(k.Addrs, relay.Addrs) {
			return true
		}
	}
	return false
}

func (s *seeker) drop(e ended) {
	delete(s.kept, e.relay)
	s.shunned.Put(e.relay, time.Now().Add(relayShunned))
	if e.err != nil {
		s.host.log.Info("relay given up; looking for another", "relay", e.relay, "err", e.err)
	}
}

func shareIP(a, b []ma.Multiaddr) bool {
	for _, x := range a {
		for _, y := range b {
			i, err := manet.ToIP(x)
			j, err2 := manet.ToIP(y)
			if err == nil && err2 == nil && i.Equal(j) {
				return true
			}
		}
	}
	return false
}

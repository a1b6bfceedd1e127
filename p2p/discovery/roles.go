package discovery

import (
	"context"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/moyai-network/moyai/wire"
)

// Role is what a machine is looked for as.
type Role string

// The roles that can be announced.
const (
	Relay    Role = "relay"
	Provider Role = "provider"
)

// AnyRegion is where whoever has a role is found besides its own region.
const AnyRegion = "any"

// maxFound bounds how many peers one search collects.
const maxFound = 32

// roleSpace begins every key of a role. The key is an identity hash: whoever is
// asked to keep it sees that it is a role's and no content's.
const roleSpace = "moyai/role/"

func roleKey(role Role, region string) cid.Cid {
	if region == "" {
		region = AnyRegion
	}
	hash, err := multihash.Sum([]byte(roleSpace+string(role)+"/"+region), multihash.IDENTITY, -1)
	if err != nil {
		panic(err) // an identity hash has no way to fail
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// isRoleKey reports whether a key of the DHT names a role in a region.
func isRoleKey(key []byte) bool {
	hash, err := multihash.Decode(key)
	if err != nil || hash.Code != multihash.IDENTITY {
		return false
	}
	rest, ours := strings.CutPrefix(string(hash.Digest), roleSpace)
	role, region, ok := strings.Cut(rest, "/")
	return ours && ok && (Role(role) == Relay || Role(role) == Provider) && isRegion(region)
}

// isRegion bounds what strangers may call a region.
func isRegion(s string) bool {
	return s != "" && len(s) <= maxRegion && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

// Announce tells the DHT that this host has a role, in its region and at large,
// until ctx or the Finder ends. While open reports false (a relay that is full) it
// is silent, and forgotten after a while.
func (f *Finder) Announce(ctx context.Context, role Role, region string, open func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(f.ctx, cancel)
	f.wg.Go(func() {
		defer cancel()
		f.repeat(ctx, nil, func(ctx context.Context) error {
			if !open() {
				return nil
			}
			if isRegion(region) && region != AnyRegion {
				if err := f.dht.Provide(ctx, roleKey(role, region), true); err != nil {
					return err
				}
			}
			return f.dht.Provide(ctx, roleKey(role, AnyRegion), true)
		})
	})
}

// repeat does something now, when poked and every announceEvery, once other
// members are known, and soon again where it fails.
func (f *Finder) repeat(ctx context.Context, poked <-chan struct{}, do func(context.Context) error) {
	for {
		wait := announceEvery
		if f.await(ctx) != nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, 3*queryTimeout)
		if err := do(attempt); err != nil {
			wait = announceRetry
			f.log.Debug("not announced", "err", err)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-poked:
		case <-time.After(wait):
		}
	}
}

// Find looks for at most `most` machines of a role, those of a region first. What
// it returns is hearsay: the machines' own claims, with at most p2p.MaxAddrs
// addresses each. It ends with ctx, or after some seconds.
func (f *Finder) Find(ctx context.Context, role Role, region string, most int) []peer.AddrInfo {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if f.await(ctx) != nil {
		return nil
	}
	found := findings{most: min(most, maxFound), seen: map[peer.ID]bool{f.host.ID(): true}}
	for _, r := range []string{region, AnyRegion} {
		if isRegion(r) && len(found.peers) < found.most {
			f.collect(ctx, roleKey(role, r), &found)
		}
		if r == AnyRegion {
			break
		}
	}
	return found.peers
}

type findings struct {
	most  int
	seen  map[peer.ID]bool
	peers []peer.AddrInfo
}

// collect adds who is found under a key. The last of those asked may be slow or
// dead: once somebody is found, it waits a little for more and no longer.
func (f *Finder) collect(ctx context.Context, key cid.Cid, found *findings) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var enough <-chan time.Time
	results := f.dht.FindProvidersAsync(ctx, key, maxFound)
	for len(found.peers) < found.most {
		select {
		case <-enough:
			return
		case info, more := <-results:
			if !more {
				return
			}
			if found.seen[info.ID] {
				continue
			}
			found.seen[info.ID] = true
			if len(info.Addrs) == 0 {
				info = f.host.Peerstore().PeerInfo(info.ID)
			}
			if info.Addrs = f.believable(info.Addrs); len(info.Addrs) == 0 {
				continue
			}
			found.peers = append(found.peers, info)
			if enough == nil {
				enough = time.After(lateFindings)
			}
		}
	}
}

// lateFindings is how long a search goes on after the first finding.
const lateFindings = 2 * time.Second

// Relays is Find for p2p.Host.SeekRelays.
func (f *Finder) Relays(region string) func(ctx context.Context, most int) []peer.AddrInfo {
	return func(ctx context.Context, most int) []peer.AddrInfo {
		var out []peer.AddrInfo
		for _, info := range f.Find(ctx, Relay, region, most) {
			if dialable(nil, info) {
				out = append(out, info)
			}
		}
		return out
	}
}

const maxRegion = wire.MaxRegion

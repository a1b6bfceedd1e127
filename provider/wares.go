package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/provider/journal"
)

// shelf is wares over libp2p.
type shelf struct {
	host   *p2p.Host
	server *content.Server
}

// Fetch implements wares. This host's identity is the node key of the bid, which
// is all that the tenant's side asks for.
func (s *shelf) Fetch(ctx context.Context, from journal.Tenant, scope [32]byte, root []byte, bytes uint64, dest string, progress func(written uint64)) error {
	id, err := peer.Decode(from.Peer)
	if err != nil {
		return fmt.Errorf("tenant %q: %w", from.Peer, err)
	}
	info, err := p2p.ParseAddrInfo(id, from.Addrs)
	if err != nil {
		return err
	}
	limits := content.Limits{Bytes: max(bytes, 1)} // zero would mean the default
	return content.Fetch(ctx, s.host, info, content.Get{Scope: scope[:], Root: root}, dest, limits, progress)
}

// Offer implements wares.
func (s *shelf) Offer(ctx context.Context, scope [32]byte, path string) ([]byte, uint64, error) {
	src, err := content.Build(ctx, path)
	if err != nil {
		return nil, 0, err
	}
	s.server.Add(scope[:], src)
	return src.Root().Bytes(), src.Size(), nil
}

// Withdraw implements wares.
func (s *shelf) Withdraw(scope [32]byte) { s.server.Remove(scope[:]) }

// mayFetch is the content server's authorizer: results go to the keys of their
// order and to nobody else.
func (d *desk) mayFetch(ctx context.Context, remote peer.ID, get content.Get) error {
	if len(get.Scope) != 32 {
		return errors.New("scope is not an order's hash")
	}
	if !d.resumed.Load() {
		return content.ErrBusy // it is not known yet what is here
	}
	a := d.findOrder([32]byte(get.Scope))
	if a == nil {
		return errors.New("no lease of that order here")
	}
	if err := a.admits(get.Access, []byte(remote), a.d.clock()); err != nil {
		return err
	}
	if a.job.shelving() {
		return content.ErrBusy
	}
	return nil
}

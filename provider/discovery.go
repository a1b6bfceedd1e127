package provider

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/internal/lifecycle"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/discovery"
)

// openDiscovery makes the host a member of the DHT.
func (p *Provider) openDiscovery() error {
	finder, err := discovery.Join(p.host, discovery.Config{Mode: discovery.Follow, Bootstrap: p.contacts, Logger: p.cfg.Logger})
	if err != nil {
		return err
	}
	p.finder = finder
	p.group.Add(lifecycle.Item{Name: "discovery", Close: finder.Close})
	return nil
}

// beFound tells the DHT where this machine is, and looks for relays there if
// nobody can connect to it.
func (p *Provider) beFound(ctx context.Context) error {
	p.finder.Announce(ctx, discovery.Provider, p.cfg.Region, func() bool { return true })
	p.finder.Publish(ctx, p.host.RelayNews(), p.member.record)
	p.host.SeekRelays(p.finder.Relays(p.cfg.Region))
	<-ctx.Done()
	return nil
}

// contacts are whom the DHT asks first: peers that the owner named, and the
// machines of the registry with the relays that carry them.
func (p *Provider) contacts(ctx context.Context) []peer.AddrInfo {
	named, err := p2p.ParseBootstrap(append(append([]string{}, p.cfg.Bootstrap...), p.cfg.Relays...))
	if err != nil {
		p.cfg.Logger.Warn("bootstrap peers not used", "err", err) // Validate has seen them
	}
	nodes, err := p.cfg.Chain.Nodes(ctx, "", true)
	if err != nil {
		p.cfg.Logger.Debug("registry not read", "err", err)
		return named
	}
	var machines []peer.AddrInfo
	for _, n := range nodes {
		id, err := p2p.PeerIDFromNode(n.Node)
		if err != nil || id == p.host.ID() {
			continue
		}
		if info, err := p2p.ParseAddrInfo(id, n.Addresses); err == nil {
			machines = append(machines, info)
		}
	}
	return append(named, discovery.Contacts(machines)...)
}

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// A newcomer is a node that the registry does not list. Its bid carries the
// record by which a first lease registers it, at our gas.

// newcomer returns the record to register a bidder by, nil if the registry lists
// it. One that the chain would refuse is an error.
func (c *Client) newcomer(o *order, b *p2p.ReceivedBid, v wire.Bid) ([]byte, error) {
	if len(b.Offer.Record) == 0 || c.peers.find(b.Peer()).Operator != "" {
		return nil, nil
	}
	if min := o.signed.Value.Terms.MinBond; !min.IsZero() {
		return nil, fmt.Errorf("it is new and has no bond yet, %s is asked for", amount.FormatAmount(min, chain.BaseDenom))
	}
	record, err := openRecord(c.chain.ChainID(), b.Offer.Record)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(record.Node, v.Node) || !bytes.Equal(record.Provider, v.Provider) {
		return nil, errors.New("its record is another machine's or another provider's")
	}
	return b.Offer.Record, nil
}

// openRecord reads a record by which a machine may join: signed by its key and
// by its operator's.
func openRecord(chainID string, raw []byte) (wire.NodeRecord, error) {
	signed, err := wire.Open[wire.NodeRecord](chainID, raw)
	if err == nil {
		err = wire.VerifyNodeRecord(signed)
	}
	if err == nil {
		err = wire.VerifyConsent(signed)
	}
	return signed.Value, err
}

// firstFees is what we give each newcomer beside the hold of its first lease, in
// the base denomination.
func (s *shopping) firstFees(ctx context.Context, choices []*choice) (amount.Amount, error) {
	isNew := map[string]bool{}
	for _, ch := range choices {
		if b := ch.bids[0]; b.record != nil {
			isNew[b.provider] = true
		}
	}
	var sum amount.Amount
	if len(isNew) == 0 {
		return sum, nil
	}
	params, err := s.c.chain.RegistryParams(ctx)
	if err != nil {
		return sum, err
	}
	each, err := amount.Parse(params.FirstFees)
	if err != nil {
		return sum, fmt.Errorf("registry parameters: first fees: %w", err)
	}
	return each.MulDivCeil(uint64(len(isNew)), 1)
}

// unlisted are connected providers that the registry does not list, as machines
// to be asked for quotes.
func (c *Client) unlisted() []machine {
	var out []machine
	for _, id := range c.host.Network().Peers() {
		if len(out) == maxPeers {
			break
		}
		offers, err := c.host.Peerstore().SupportsProtocols(id, p2p.QuoteProtocol)
		if err != nil || len(offers) == 0 || c.peers.find(id).Operator != "" {
			continue
		}
		m := machine{info: peer.AddrInfo{ID: id}}
		if m.Node.Node, err = p2p.NodeFromPeerID(id); err == nil {
			out = append(out, m)
		}
	}
	return out
}

package provider

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
)

// A newcomer owns nothing, so it cannot register. Its bids carry its record
// instead, and its first lease registers it at the payer's gas.

// mayJoinLater: registering failed for want of money, and a lease can do it.
func (m *membership) mayJoinLater(err error) bool {
	return penniless(err) && !m.cold() && m.cfg.Bond.Amount.IsZero()
}

// penniless: the account cannot pay what it tried.
func penniless(err error) bool {
	return errors.Is(err, chain.ErrNoAccount) || errors.Is(err, chain.CodeUnknownAddress) || errors.Is(err, chain.CodeInsufficientFunds)
}

// offerRecord has bids carry a fresh record with the operator's consent.
func (m *membership) offerRecord() error {
	record, err := m.sealRecord(m.consent)
	if err != nil {
		return err
	}
	raw := record.Bytes()
	m.stall.record.Store(&raw)
	m.unnamed = true
	m.open(amount.Amount{})
	return nil
}

const (
	neighboursLook  = 200 * time.Millisecond
	neighboursEvery = 5 * time.Second
	enoughListeners = 4 // peers to hear of orders from
	maxNeighbours   = 8 // dialled at once
	neighbourDial   = 5 * time.Second
)

// neighbours keeps a machine that the registry does not list yet connected to
// some that it does. Tenants dial those; the gossip carries their orders on.
type neighbours struct {
	host      *p2p.Host
	unlisted  func() bool
	listeners func() int
	contacts  func(ctx context.Context) []peer.AddrInfo
	log       *slog.Logger
}

func (n *neighbours) run(ctx context.Context) error {
	for {
		wait := neighboursLook
		if n.unlisted() && n.listeners() < enoughListeners {
			n.meet(ctx)
			wait = neighboursEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// meet dials some listed machines, in random order so that no one is always
// asked.
func (n *neighbours) meet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, neighbourDial)
	defer cancel()
	known := n.contacts(ctx)
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	var wg sync.WaitGroup
	for _, info := range known[:min(len(known), maxNeighbours)] {
		wg.Go(func() {
			if err := n.host.Connect(ctx, info); err != nil {
				n.log.Debug("provider not reached", "peer", info.ID, "err", err)
			}
		})
	}
	wg.Wait()
}

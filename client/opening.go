package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// gatherReady shows every candidate the manifest and waits for the best one's
// word; it drops candidates, and orders, that got none.
func (s *shopping) gatherReady(ctx context.Context, choices []*choice) []*choice {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, ch := range choices {
		s.serve(ch)
		wg.Go(func() { s.readyOf(ctx, ch) })
	}
	wg.Wait()
	var out []*choice
	for _, ch := range choices {
		kept := &choice{order: ch.order}
		for i, r := range ch.ready {
			if r != nil {
				kept.bids, kept.ready = append(kept.bids, ch.bids[i]), append(kept.ready, r)
			}
		}
		if len(kept.bids) > 0 {
			out = append(out, kept)
		}
	}
	return out
}

// serve offers module and inputs to the order's candidates, who may fetch as soon
// as they have seen the manifest.
func (s *shopping) serve(ch *choice) {
	for _, src := range s.program.sources {
		s.c.content.Add(ch.order.hash(), src)
	}
	for _, b := range ch.bids {
		s.c.allowFetch(ch.order.signed.Digest, b.peer)
	}
}

// readyOf asks all candidates of an order at once and returns when the best one
// still standing has answered.
func (s *shopping) readyOf(ctx context.Context, ch *choice) {
	type answer struct {
		i     int
		ready []byte
		err   error
	}
	answers := make(chan answer, len(ch.bids))
	for i, b := range ch.bids {
		go func() {
			ready, err := s.askReady(ctx, ch.order, b, i)
			answers <- answer{i, ready, err}
		}()
	}
	pending := map[int]bool{}
	for i := range ch.bids {
		pending[i] = true
	}
	var grace <-chan time.Time
	for len(pending) > 0 {
		select {
		case a := <-answers:
			delete(pending, a.i)
			if a.err != nil {
				s.backedOut.Store(&a.err)
				s.emit(Event{Kind: EventRefused, Provider: ch.bids[a.i].provider, Moniker: ch.bids[a.i].moniker, Text: a.err.Error()})
			}
			ch.ready[a.i] = a.ready
		case <-grace:
			return
		}
		if best := slices.IndexFunc(ch.ready, func(r []byte) bool { return r != nil }); best >= 0 && grace == nil {
			waiting := false
			for i := range pending {
				waiting = waiting || i < best
			}
			if !waiting {
				grace = time.After(readyGrace)
			}
		}
	}
}

func (s *shopping) askReady(ctx context.Context, o *order, b *bid, place int) ([]byte, error) {
	raw, err := b.received.Choose(ctx, p2p.Choice{Manifest: s.program.manifest, Place: uint64(place)})
	if err != nil {
		return nil, fmt.Errorf("%s backed out: %w", b.name(), err)
	}
	ready, err := wire.Open[wire.Ready](s.c.chain.ChainID(), raw)
	if err == nil {
		err = ready.VerifyBy(b.signed.Value.Node)
	}
	if err == nil && (string(ready.Value.BidHash) != string(b.signed.Digest[:]) || string(ready.Value.Manifest) != string(o.signed.Value.SpecHash)) {
		err = errors.New("it is for another bid or manifest")
	}
	if err != nil {
		s.c.host.Strike(b.peer, err)
		return nil, fmt.Errorf("%s signed a ready that cannot be used: %w", b.name(), err)
	}
	return raw, nil
}

// open journals what may come to exist, sends the one transaction, and journals
// what did.
func (s *shopping) open(ctx context.Context, choices []*choice) ([]bought, error) {
	msg := &marketv1.MsgOpenLeases{Payer: s.c.sender.Address()}
	rows := make([]journal.Lease, len(choices))
	for i, ch := range choices {
		rows[i] = journal.Lease{
			OrderHash: ch.order.hash(), Job: s.jobID, Created: time.Now(), SignedOrder: ch.order.signed.Bytes(), ReceiptSeed: ch.order.seed,
		}
		item := marketv1.OpenItem{Order: ch.order.signed.Body}
		for n, b := range ch.bids {
			item.Candidates = append(item.Candidates, marketv1.Candidate{Bid: b.signed.Bytes(), Ready: ch.ready[n], Record: b.record})
			rows[i].Candidates = append(rows[i].Candidates, s.candidate(b))
		}
		msg.Items = append(msg.Items, item)
	}
	if err := s.c.journal.AddOpening(ctx, rows); err != nil {
		return nil, err
	}
	s.emit(Event{Kind: EventOpening, Count: len(choices)})
	res, err := s.c.sender.Send(ctx, sdk.Msg(msg))
	if err != nil {
		return nil, s.openError(err)
	}
	reply, ok := chain.Response[*marketv1.MsgOpenLeasesResponse](res)
	if !ok || len(reply.Results) != len(choices) {
		return nil, fmt.Errorf("open leases: the chain's answer in %s does not fit the question", res.TxHash)
	}
	return s.settleOpen(choices, rows, reply, res.TxHash)
}

func (s *shopping) settleOpen(choices []*choice, rows []journal.Lease, reply *marketv1.MsgOpenLeasesResponse, tx string) ([]bought, error) {
	ctx, now := s.c.ctx, time.Now() // the lease exists: the caller's impatience must not lose it
	var out []bought
	var reasons []string
	for i, r := range reply.Results {
		o := choices[i].order
		if len(r.LeaseId) == 0 {
			why := refusalText(r.Refusals)
			reasons = append(reasons, why)
			s.emit(Event{Kind: EventWarning, Text: "one lease was not opened: " + why})
			if err := s.c.journal.SetEnd(ctx, o.hash(), journal.StateRefused, why); err != nil {
				return out, err
			}
			s.c.forgetFetch(o.signed.Digest)
			continue
		}
		if int(r.Candidate) >= len(rows[i].Candidates) {
			return out, fmt.Errorf("open leases: the chain opened candidate %d of %d", r.Candidate, len(rows[i].Candidates))
		}
		cand := rows[i].Candidates[r.Candidate]
		if err := s.c.journal.SetOpen(ctx, o.hash(), cand, tx, now); err != nil {
			return out, err
		}
		out = append(out, bought{order: o, candidate: cand, tx: tx, at: now})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotOpened, strings.Join(slices.Compact(reasons), "; "))
	}
	return out, nil
}

func (s *shopping) candidate(b *bid) journal.Candidate {
	var addrs []string
	for _, a := range s.c.host.Peerstore().Addrs(b.peer) {
		if len(addrs) < p2p.MaxAddrs {
			addrs = append(addrs, a.String())
		}
	}
	return journal.Candidate{
		LeaseID: b.leaseID[:], Provider: b.provider, Moniker: b.moniker, Node: b.signed.Value.Node, Addrs: addrs,
		Rate: b.signed.Value.Rate.String(), GraceMS: b.signed.Value.GraceMS,
	}
}

func (s *shopping) openError(err error) error {
	if errors.Is(err, chain.CodeInsufficientFunds) || errors.Is(err, chain.CodeEscrowFunds) {
		return fmt.Errorf("%w: %w", ErrFunds, err)
	}
	return fmt.Errorf("open leases: %w", err)
}

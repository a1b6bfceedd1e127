package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/wire"
)

const (
	maxQuote      = 8 << 10
	maxDimensions = 16
)

// QuoteRate is how often one peer may ask for a quote.
var QuoteRate = limit.Rate{PerSecond: 5, Burst: 20}

// QuoteRequest asks what something would cost. It is signed by nobody and
// reserves nothing.
type QuoteRequest struct {
	Kind        string            `cbor:"1,keyasint"`
	KindVersion uint64            `cbor:"2,keyasint"`
	Quantities  []wire.Quantity   `cbor:"3,keyasint"` // ≤ 16
	Constraints []wire.Constraint `cbor:"4,keyasint"` // ≤ 16
	Denom       string            `cbor:"5,keyasint"`
	MaxRate     amount.Rate       `cbor:"6,keyasint"` // 10⁻¹² base units per second; 0 means no ceiling
	TimeoutMS   uint64            `cbor:"7,keyasint"` // wanted length; 0 means unsaid
}

// Validate implements Message.
func (q *QuoteRequest) Validate() error {
	if len(q.Quantities) > maxDimensions || len(q.Constraints) > maxDimensions {
		return fmt.Errorf("%d quantities and %d constraints, at most %d each", len(q.Quantities), len(q.Constraints), maxDimensions)
	}
	for _, n := range q.Quantities {
		if err := text("dimension", n.Dimension, MaxID); err != nil {
			return err
		}
	}
	for _, c := range q.Constraints {
		if err := firstError(text("attribute", c.Attribute, MaxID), text("operator", c.Op, 2), text("value", c.Value, MaxID)); err != nil {
			return err
		}
	}
	return firstError(text("kind", q.Kind, MaxID), text("denomination", q.Denom, MaxID))
}

// QuoteReply is an indication: a price, or the reasons why not.
type QuoteReply struct {
	Rate             amount.Rate `cbor:"1,keyasint"` // meaningful if Misses is empty
	Denom            string      `cbor:"2,keyasint"`
	Moniker          string      `cbor:"3,keyasint,omitempty"`
	Misses           []Refusal   `cbor:"4,keyasint,omitempty"` // ≤ 16
	EstimatedStartMS uint64      `cbor:"5,keyasint,omitempty"` // from open to running
	Record           []byte      `cbor:"6,keyasint,omitempty"` // as in BidOffer, of a node that the chain does not know
}

// Validate implements Message.
func (q *QuoteReply) Validate() error {
	if len(q.Misses) > maxRefusals {
		return fmt.Errorf("%d misses, at most %d", len(q.Misses), maxRefusals)
	}
	for i := range q.Misses {
		if err := q.Misses[i].Validate(); err != nil {
			return err
		}
	}
	return firstError(text("denomination", q.Denom, MaxID), text("moniker", q.Moniker, MaxID), size("record", q.Record, 0, MaxSigned))
}

// Quote asks one provider. A *RefusedError means that it would not answer.
func (h *Host) Quote(ctx context.Context, provider peer.AddrInfo, req QuoteRequest) (QuoteReply, error) {
	s, err := h.OpenStream(ctx, provider, QuoteProtocol)
	if err != nil {
		return QuoteReply{}, err
	}
	defer s.Reset()
	defer s.closeOn(ctx)()
	if err := s.Send(maxQuote, &req); err != nil {
		return QuoteReply{}, contextFirst(ctx, err)
	}
	var reply QuoteReply
	if err := s.Recv(4*maxQuote, FrameTimeout, &reply); err != nil {
		return QuoteReply{}, contextFirst(ctx, fmt.Errorf("no quote from %s: %w", s.Peer(), err))
	}
	return reply, nil
}

// HandleQuotes answers quotes with fn, at most QuoteRate per peer. fn must be
// quick and must not reserve anything; an error is told to nobody and only ends
// the stream.
func (h *Host) HandleQuotes(fn func(ctx context.Context, from peer.ID, req QuoteRequest) (QuoteReply, error)) (remove func()) {
	rate := limit.New[peer.ID](QuoteRate, maxTrackedPeers, nil)
	return h.Handle(QuoteProtocol, func(ctx context.Context, s *Stream) {
		defer func() { _ = s.Close() }()
		var req QuoteRequest
		if err := s.Recv(maxQuote, h.patience, &req); err != nil {
			return
		}
		reply := QuoteReply{Denom: req.Denom, Misses: []Refusal{{Subject: "requests", Hint: "too many quotes asked for: wait some seconds"}}}
		if rate.Allow(s.Peer()) {
			var err error
			if reply, err = fn(ctx, s.Peer(), req); err != nil {
				h.log.Debug("quote failed", "peer", s.Peer(), "err", err)
				return
			}
		}
		if err := s.Send(4*maxQuote, &reply); err != nil && !errors.Is(err, ctx.Err()) {
			h.log.Debug("quote not delivered", "peer", s.Peer(), "err", err)
		}
	})
}

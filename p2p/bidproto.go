package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	maxBidOffer   = 16 << 10
	maxReadyReply = 12 << 10
	maxRefusals   = 16

	// maxChoice is how long a provider waits for the tenant's choice: longer than
	// any bid lives.
	maxChoice = 45 * time.Second
)

// ErrNotChosen is what a provider learns when the tenant closes the bid stream:
// another bid won, or the tenant went away. Nothing is owed.
var ErrNotChosen = errors.New("bid was not chosen")

// BidOffer is a provider's answer to an announced order: a signed bid, or the
// reasons why there is none. Exactly one of Bid and Refusals is set.
type BidOffer struct {
	OrderHash   []byte    `cbor:"1,keyasint"`           // 32 bytes
	Bid         []byte    `cbor:"2,keyasint,omitempty"` // signed wire.Bid
	Refusals    []Refusal `cbor:"3,keyasint,omitempty"` // ≤ 16
	Moniker     string    `cbor:"4,keyasint,omitempty"` // the provider's name for people, unproven
	CachedBytes uint64    `cbor:"5,keyasint,omitempty"` // of what the announcement hinted at, already here
	LoadMS      uint64    `cbor:"6,keyasint,omitempty"` // how long loading the rest may take, by what this provider saw of late
	// Record, beside a bid, is the signed wire.NodeRecord by which a node that the
	// chain does not know joins with its first lease.
	Record []byte `cbor:"7,keyasint,omitempty"`
}

// Validate implements Message.
func (o *BidOffer) Validate() error {
	if (len(o.Bid) == 0) == (len(o.Refusals) == 0) {
		return errors.New("an offer carries either a bid or refusals")
	}
	if len(o.Refusals) > maxRefusals {
		return fmt.Errorf("%d refusals, at most %d", len(o.Refusals), maxRefusals)
	}
	for i := range o.Refusals {
		if err := o.Refusals[i].Validate(); err != nil {
			return err
		}
	}
	return firstError(
		size("order hash", o.OrderHash, hashLen, hashLen),
		size("bid", o.Bid, 0, MaxSigned),
		size("record", o.Record, 0, MaxSigned),
		text("moniker", o.Moniker, MaxID),
	)
}

// Choice tells a provider that its bid is among an order's candidates, and what
// it must run.
type Choice struct {
	Manifest []byte `cbor:"1,keyasint"`
	// Place is the bid's rank among the candidates, the best is 0. It is a hint:
	// the others start only if the chain refuses those before them, so they need
	// not fetch anything yet.
	Place uint64 `cbor:"2,keyasint,omitempty"`
}

// Validate implements Message.
func (c *Choice) Validate() error { return size("manifest", c.Manifest, 1, MaxManifest) }

// readyReply is the provider's last word: Ready or a refusal.
type readyReply struct {
	Ready   []byte   `cbor:"1,keyasint,omitempty"`
	Refusal *Refusal `cbor:"2,keyasint,omitempty"`
}

func (r *readyReply) Validate() error {
	if (len(r.Ready) == 0) == (r.Refusal == nil) {
		return errors.New("a reply carries either ready or a refusal")
	}
	if r.Refusal != nil {
		return r.Refusal.Validate()
	}
	return size("ready", r.Ready, 1, MaxSigned)
}

// OfferedBid is the provider's end of a bid stream. Close it when done.
type OfferedBid struct{ s *Stream }

// OfferBid sends an offer, or the refusal, to the tenant who announced the
// order, dialling it if there is no connection yet. It returns as soon as the
// offer is on its way.
func (h *Host) OfferBid(ctx context.Context, tenant peer.AddrInfo, offer BidOffer) (*OfferedBid, error) {
	s, err := h.OpenStream(ctx, tenant, BidProtocol)
	if err != nil {
		return nil, err
	}
	if err := s.Send(maxBidOffer, &offer); err != nil {
		s.Reset()
		return nil, err
	}
	return &OfferedBid{s}, nil
}

// Peer is the tenant.
func (b *OfferedBid) Peer() peer.ID { return b.s.Peer() }

// AwaitChoice waits until the tenant chooses the bid and returns the manifest,
// whose hash the caller must compare with the order's. It returns ErrNotChosen
// if the tenant closed the stream or let the bid expire.
func (b *OfferedBid) AwaitChoice(ctx context.Context) (Choice, error) {
	defer b.s.closeOn(ctx)()
	var c Choice
	err := b.s.Recv(MaxManifest+64, maxChoice, &c)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return Choice{}, ctx.Err()
	case brokeProtocol(err):
		return Choice{}, err
	}
	return Choice{}, fmt.Errorf("%w by %s: %w", ErrNotChosen, b.Peer(), err)
}

// SendReady answers the choice with a signed wire.Ready.
func (b *OfferedBid) SendReady(ready []byte) error {
	return b.s.Send(maxReadyReply, &readyReply{Ready: ready})
}

// Refuse answers the choice with the reason why it cannot run here.
func (b *OfferedBid) Refuse(r Refusal) error {
	return b.s.Send(maxReadyReply, &readyReply{Refusal: &r})
}

// AwaitClose returns nil when the tenant ends the stream after Ready, which means
// that it opened a lease somewhere or gave up: look at the chain.
func (b *OfferedBid) AwaitClose(ctx context.Context) error {
	defer b.s.closeOn(ctx)()
	err := b.s.Recv(0, 0, &nothing{})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case brokeProtocol(err):
		return err
	}
	return nil
}

// Close ends the stream.
func (b *OfferedBid) Close() { _ = b.s.Close() }

// nothing is the message of a place where none is allowed.
type nothing struct{}

func (*nothing) Validate() error { return errors.New("no message is allowed here") }

// ReceivedBid is the tenant's end of a bid stream.
type ReceivedBid struct {
	Offer BidOffer // validated in shape; the signature is the receiver's to verify
	s     *Stream
}

// HandleBids calls fn for every offer that arrives, each on its own goroutine.
// fn owns the bid and must Close it, then or later; ctx ends with the host.
// remove uninstalls the handler.
func (h *Host) HandleBids(fn func(ctx context.Context, b *ReceivedBid)) (remove func()) {
	return h.Handle(BidProtocol, func(ctx context.Context, s *Stream) {
		b := &ReceivedBid{s: s}
		if err := s.Recv(maxBidOffer, h.patience, &b.Offer); err != nil {
			s.Reset()
			return
		}
		fn(ctx, b)
	})
}

// Peer is the provider; its peer id must match the bid's node key.
func (b *ReceivedBid) Peer() peer.ID { return b.s.Peer() }

// Choose sends the choice and waits for the signed wire.Ready. Errors: ctx's, a
// *RefusedError, or the network's.
func (b *ReceivedBid) Choose(ctx context.Context, choice Choice) (ready []byte, err error) {
	defer b.s.closeOn(ctx)()
	if err := b.s.Send(MaxManifest+64, &choice); err != nil {
		return nil, contextFirst(ctx, err)
	}
	var reply readyReply
	if err := b.s.Recv(maxReadyReply, maxChoice, &reply); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s closed the stream instead of signing ready", b.Peer())
		}
		return nil, contextFirst(ctx, err)
	}
	if reply.Refusal != nil {
		return nil, &RefusedError{b.Peer(), *reply.Refusal}
	}
	return reply.Ready, nil
}

// Close ends the stream: before Choose it means "not chosen".
func (b *ReceivedBid) Close() { _ = b.s.Close() }

// contextFirst prefers the context's reason to the "stream reset" that its end
// caused.
func contextFirst(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

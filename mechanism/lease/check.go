package lease

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Refusals of an order, or of a bid for it. ErrTerms and ErrReserved belong to
// them too.
var (
	// ErrVersion: a signed object of a version this code does not know.
	ErrVersion = errors.New("unknown version")
	// ErrOrderExpired: the order's time has passed.
	ErrOrderExpired = errors.New("order has expired")
	// ErrOrderLife: the order would live longer than is allowed.
	ErrOrderLife = errors.New("order expires too far ahead")
	// ErrChain: bid or ready is for another chain than the order.
	ErrChain = errors.New("signed for another chain")
	// ErrWrongOrder: the bid answers another order.
	ErrWrongOrder = errors.New("bid is for another order")
	// ErrWrongPayer: the bid was made to another payer.
	ErrWrongPayer = errors.New("bid is for another payer")
	// ErrBidExpired: the bid's time has passed.
	ErrBidExpired = errors.New("bid has expired")
	// ErrBidLife: the bid would stay firm longer than is allowed.
	ErrBidLife = errors.New("bid expires too far ahead")
	// ErrDenom: order and bid differ in denomination.
	ErrDenom = errors.New("bid is in another denomination")
	// ErrRate: the bid's rate exceeds the order's ceiling.
	ErrRate = errors.New("bid is above the order's ceiling")
	// ErrGrace: the bid asks for more loading time than the order gives.
	ErrGrace = errors.New("bid asks for too much grace")
	// ErrGeneration: the slot was leased under this generation, or a later one.
	ErrGeneration = errors.New("slot generation is used")
	// ErrWrongBid: the ready belongs to another bid.
	ErrWrongBid = errors.New("ready is for another bid")
	// ErrManifest: the node has seen another manifest than the order means.
	ErrManifest = errors.New("ready is for another manifest")
)

// Version1 is the only version of orders, bids and readies.
const Version1 = 1

// VerifyNone is the only verify policy that is built.
const VerifyNone = "none"

// OrderView is what the rules look at in an order.
type OrderView struct {
	Hash         [32]byte // digest of the order's body
	Version      uint64
	ChainID      string
	Payer        []byte
	SpecHash     []byte
	Denom        string
	MaxRate      amount.Rate
	TimeoutMS    uint64
	MaxGraceMS   uint64
	MaxUnackedMS uint64
	MinBond      amount.Amount
	OfflineMax   amount.Amount
	VerifyPolicy string
	VerifyBps    uint64
	VerifyCopies uint64
	Priority     uint64
	Failover     uint64
	StandbyRate  amount.Rate
	MaxPenalty   amount.Amount
	ExpiresAt    int64 // unix ms of block time
}

// BidView is what the rules look at in a bid.
type BidView struct {
	Hash        [32]byte // digest of the bid's body
	Version     uint64
	ChainID     string
	OrderHash   []byte
	Payer       []byte
	Slot        uint32
	Generation  uint64
	Rate        amount.Rate
	Denom       string
	GraceMS     uint64
	NoticeMS    uint64
	Penalty     amount.Amount
	StandbyRate amount.Rate
	ExpiresAt   int64 // unix ms of block time
}

// ReadyView is what the rules look at in a ready.
type ReadyView struct {
	Version  uint64
	ChainID  string
	BidHash  []byte
	Manifest []byte
}

// CheckOrder tells whether an order can open leases at block time blockMS
// (unix milliseconds). It returns ErrVersion, ErrReserved (naming the term),
// ErrOrderExpired, ErrOrderLife or ErrTerms. That the message's signer is the
// payer, that the order was not used before, and that its denomination is
// governed is the chain's to check.
func CheckOrder(p Params, o OrderView, blockMS int64) error {
	if o.Version != Version1 {
		return fmt.Errorf("order version %d: %w", o.Version, ErrVersion)
	}
	if err := o.reserved(); err != nil {
		return err
	}
	if err := checkExpiry("order", o.ExpiresAt, blockMS, p.MaxOrderLifeMS, ErrOrderExpired, ErrOrderLife); err != nil {
		return err
	}
	if err := within("timeout", o.TimeoutMS, p.MaxTimeoutMS); err != nil {
		return err
	}
	return within("max_unacked", o.MaxUnackedMS, p.MaxUnackedMS)
}

// reserved refuses by name what is in the order from the first day but not
// built.
func (o OrderView) reserved() error {
	switch {
	case o.VerifyPolicy != VerifyNone:
		return fmt.Errorf("verify policy %q: %w", o.VerifyPolicy, ErrReserved)
	case o.VerifyBps != 0 || o.VerifyCopies != 0:
		return fmt.Errorf("verify %q with parameters: %w", o.VerifyPolicy, ErrReserved)
	case o.Priority != 0:
		return fmt.Errorf("priority %d: %w", o.Priority, ErrReserved)
	case o.Failover != 0:
		return fmt.Errorf("failover %d: %w", o.Failover, ErrReserved)
	case !o.StandbyRate.IsZero():
		return fmt.Errorf("standby_rate %s: %w", o.StandbyRate, ErrReserved)
	case !o.MaxPenalty.IsZero():
		return fmt.Errorf("penalty up to %s: %w", o.MaxPenalty, ErrReserved)
	}
	return nil
}

// CheckPair tells whether a bid and its ready can open a lease for an order
// that passed CheckOrder. lastGeneration is the slot's last one on chain, 0 if
// it has none. It returns the sentinel of the first rule that refuses. Whose
// signatures they bear, that the node serves that provider and that its bond
// suffices is the chain's to check.
func CheckPair(p Params, o OrderView, b BidView, r ReadyView, blockMS int64, lastGeneration uint64) error {
	if err := checkBid(p, o, b, blockMS); err != nil {
		return err
	}
	switch {
	case b.Generation <= lastGeneration:
		return fmt.Errorf("slot %d generation %d, last was %d: %w", b.Slot, b.Generation, lastGeneration, ErrGeneration)
	case r.Version != Version1:
		return fmt.Errorf("ready version %d: %w", r.Version, ErrVersion)
	case r.ChainID != o.ChainID:
		return fmt.Errorf("ready for chain %.64q: %w", r.ChainID, ErrChain)
	case !bytes.Equal(r.BidHash, b.Hash[:]):
		return fmt.Errorf("ready names bid %.32x, this is %x: %w", r.BidHash, b.Hash, ErrWrongBid)
	case !bytes.Equal(r.Manifest, o.SpecHash):
		return fmt.Errorf("ready names manifest %.32x, the order %.32x: %w", r.Manifest, o.SpecHash, ErrManifest)
	}
	return TermsOf(o, b).validate(p)
}

func checkBid(p Params, o OrderView, b BidView, blockMS int64) error {
	switch {
	case b.Version != Version1:
		return fmt.Errorf("bid version %d: %w", b.Version, ErrVersion)
	case b.ChainID != o.ChainID:
		return fmt.Errorf("bid for chain %.64q: %w", b.ChainID, ErrChain)
	case !bytes.Equal(b.OrderHash, o.Hash[:]):
		return fmt.Errorf("bid names order %.32x, this is %x: %w", b.OrderHash, o.Hash, ErrWrongOrder)
	case !bytes.Equal(b.Payer, o.Payer):
		return fmt.Errorf("bid names payer %.32x: %w", b.Payer, ErrWrongPayer)
	case !b.Penalty.IsZero():
		return fmt.Errorf("penalty %s: %w", b.Penalty, ErrReserved)
	case !b.StandbyRate.IsZero():
		return fmt.Errorf("standby_rate %s: %w", b.StandbyRate, ErrReserved)
	case b.Denom != o.Denom:
		return fmt.Errorf("bid in %.64q, order in %.64q: %w", b.Denom, o.Denom, ErrDenom)
	case b.Rate.Cmp(o.MaxRate) > 0:
		return fmt.Errorf("bid of %s, ceiling %s: %w", amount.FormatRate(b.Rate, b.Denom), amount.FormatRate(o.MaxRate, o.Denom), ErrRate)
	case b.GraceMS > o.MaxGraceMS:
		return fmt.Errorf("bid asks for %d ms, the order gives %d: %w", b.GraceMS, o.MaxGraceMS, ErrGrace)
	}
	return checkExpiry("bid", b.ExpiresAt, blockMS, p.MaxBidLifeMS, ErrBidExpired, ErrBidLife)
}

func checkExpiry(what string, expiresAt, blockMS int64, mostMS uint64, expired, tooFar error) error {
	if expiresAt <= blockMS {
		return fmt.Errorf("%s expired at %d, it is %d: %w", what, expiresAt, blockMS, expired)
	}
	if ahead := uint64(expiresAt) - uint64(blockMS); ahead > mostMS {
		return fmt.Errorf("%s expires %d ms ahead, at most %d: %w", what, ahead, mostMS, tooFar)
	}
	return nil
}

// TermsOf are the terms on which an order and a bid for it agree: the bid's
// rate and grace, everything else from the order. The sum a provider may meter
// alone becomes a counter: the longest time that costs no more.
func TermsOf(o OrderView, b BidView) Terms {
	var offline uint64
	if !o.OfflineMax.IsZero() {
		offline = min(b.Rate.TimeToExhaust(o.OfflineMax), o.TimeoutMS)
	}
	return Terms{
		Rate:         b.Rate,
		TimeoutMS:    o.TimeoutMS,
		GraceMS:      b.GraceMS,
		MaxUnackedMS: o.MaxUnackedMS,
		OfflineMS:    offline,
		Bond:         o.MinBond,
	}
}

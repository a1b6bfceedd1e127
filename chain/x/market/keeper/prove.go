package keeper

import (
	"bytes"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/parallel"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/wire"
)

// Decoding and verifying signed bytes is a third of a lease's cost and depends
// on nothing but the bytes, so a batch has it done side by side before its
// items are applied one after another. Gas for all of it is charged first.

// charge takes the gas of nested signatures, before any of them is verified.
func (m moment) charge(ctx sdk.Context, signatures int) {
	ctx.GasMeter().ConsumeGas(m.params.GasPerSignature*uint64(signatures), "nested signatures")
}

// signaturesPerCandidate: the bid's and the ready's.
const signaturesPerCandidate = 2

// pair is a decoded candidate and what its signatures are worth.
type pair struct {
	bid   wire.Signed[wire.Bid]
	ready wire.Signed[wire.Ready]
	// record is the node's, as bytes: only a node that nobody knows has it read.
	record []byte
	// malformed says that the bytes are no bid or no ready; unsigned that one of
	// them does not bear the node's signature.
	malformed, unsigned error
}

func (m moment) pair(c *marketv1.Candidate) (p pair) {
	p.record = c.Record
	if p.bid, p.malformed = wire.Open[wire.Bid](m.chainID, c.Bid); p.malformed != nil {
		return p
	}
	if p.ready, p.malformed = wire.Open[wire.Ready](m.chainID, c.Ready); p.malformed != nil {
		return p
	}
	if p.unsigned = wire.VerifyBid(p.bid); p.unsigned == nil {
		p.unsigned = p.ready.VerifyBy(p.bid.Value.Node)
	}
	return p
}

// firstPairs proves every item's first candidate, which is nearly always the
// one that opens.
func (m moment) firstPairs(ctx sdk.Context, items []marketv1.OpenItem) []pair {
	m.charge(ctx, len(items)*signaturesPerCandidate)
	pairs := make([]pair, len(items))
	parallel.Each(len(items), func(i int) {
		if len(items[i].Candidates) > 0 {
			pairs[i] = m.pair(&items[i].Candidates[0])
		}
	})
	return pairs
}

// keys are whose signatures count for a lease. They never change.
type keys struct{ leaseID, node, receipt []byte }

func keysOf(l *marketv1.Lease) keys { return keys{l.Id, l.Node, l.ReceiptKey} }

// evidence is what a close item shows, decoded and verified.
type evidence struct {
	receipt               *wire.Receipt
	nodeSigned, keySigned bool
	elapsedMS             uint64 // of a claim or contest
	awayMS                uint64
	err                   error
}

// signatures is how many an item can make the chain verify.
func signatures(item *marketv1.CloseItem) (n int) {
	switch {
	case len(item.Proof) == 0:
	case item.Action == marketv1.CloseAction_CLOSE_ACTION_CLAIM, item.Action == marketv1.CloseAction_CLOSE_ACTION_CONTEST:
		n = 1
	default:
		n = 2
	}
	if len(item.Away) > 0 {
		n++
	}
	return n
}

// evidence decodes and verifies one close item for the lease of those keys.
func (m moment) evidence(k keys, item *marketv1.CloseItem) (e evidence) {
	switch item.Action {
	case marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED:
		if len(item.Proof) == 0 { // a party may close with empty hands
			e.awayMS, e.err = m.away(k, item.Away)
			return e
		}
		return m.receipt(k, item)
	case marketv1.CloseAction_CLOSE_ACTION_FINAL, marketv1.CloseAction_CLOSE_ACTION_RECEIPT:
		return m.receipt(k, item)
	case marketv1.CloseAction_CLOSE_ACTION_CLAIM:
		claim, err := wire.Open[wire.Claim](m.chainID, item.Proof)
		if err == nil {
			err = verify(k, claim, claim.Value.LeaseID, k.node)
		}
		return evidence{elapsedMS: claim.Value.ElapsedMS, err: err}
	case marketv1.CloseAction_CLOSE_ACTION_CONTEST:
		contest, err := wire.Open[wire.Contest](m.chainID, item.Proof)
		if err == nil {
			err = verify(k, contest, contest.Value.LeaseID, k.receipt)
		}
		return evidence{elapsedMS: contest.Value.ElapsedMS, err: err}
	}
	return evidence{err: types.ErrUnknownAction.Wrapf("%d", item.Action)}
}

func (m moment) receipt(k keys, item *marketv1.CloseItem) (e evidence) {
	r, err := wire.Open[wire.Receipt](m.chainID, item.Proof)
	if err != nil {
		return evidence{err: err}
	}
	if err := k.names(r.Value.LeaseID); err != nil {
		return evidence{err: err}
	}
	e.receipt = &r.Value
	if e.awayMS, e.err = m.away(k, item.Away); e.err != nil {
		return e
	}
	e.nodeSigned, e.keySigned, e.err = wire.VerifyReceipt(r, k.node, k.receipt)
	return e
}

// away verifies an advance acknowledgement, if one came along.
func (m moment) away(k keys, raw []byte) (uint64, error) {
	if len(raw) == 0 {
		return 0, nil
	}
	a, err := wire.Open[wire.Away](m.chainID, raw)
	if err != nil {
		return 0, err
	}
	return a.Value.UntilMS, verify(k, a, a.Value.LeaseID, k.receipt)
}

// verify refuses what speaks of another lease, or is not signed by key.
func verify[T wire.Object](k keys, s wire.Signed[T], leaseID, key []byte) error {
	if err := k.names(leaseID); err != nil {
		return err
	}
	return s.VerifyBy(key)
}

func (k keys) names(id []byte) error {
	if !bytes.Equal(id, k.leaseID) {
		return types.ErrWrongLease.Wrapf("%x", id)
	}
	return nil
}

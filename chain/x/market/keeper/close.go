package keeper

import (
	"bytes"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// closer applies the items of one message.
type closer struct {
	Keeper
	moment
	sender string
}

// item applies one step to one lease, or refuses and leaves nothing behind.
func (c *closer) item(ctx sdk.Context, item *marketv1.CloseItem) (marketv1.LeaseState, error) {
	record, l, err := c.lease(ctx, item.LeaseId)
	if err != nil {
		return 0, err
	}
	if l.State == lease.StateClosed { // several race to close: do not verify for nothing
		return record.State, types.ErrClosed.Wrapf("%x", record.Id)
	}
	step, outputs, err := c.step(ctx, item, &record)
	if err != nil {
		return record.State, err
	}
	next, err := l.Apply(c.rules, step, c.meterMS)
	if err != nil {
		return record.State, err
	}
	branch, commit := ctx.CacheContext()
	record.Outputs = outputs
	if err := c.advance(branch, c.moment, record, l, next); err != nil {
		return record.State, err
	}
	if next.State == lease.StateSettling && item.Action != marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED {
		emitUpdated(branch, &record, item.Action, next)
	}
	commit()
	return marketv1.LeaseState(next.State), nil
}

// step decodes and verifies what an item shows.
func (c *closer) step(ctx sdk.Context, item *marketv1.CloseItem, record *marketv1.Lease) (s lease.Step, outputs []byte, err error) {
	v := verifier{ctx: ctx, moment: &c.moment, record: record}
	switch item.Action {
	case marketv1.CloseAction_CLOSE_ACTION_FINAL:
		r, err := v.receipt(item)
		if err != nil {
			return nil, nil, err
		}
		if !r.Final {
			return nil, nil, types.ErrNotFinal.Wrapf("sequence %d", r.Sequence)
		}
		return lease.FinalReceipt{
			Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, Reason: lease.Reason(r.Reason),
			NodeSigned: r.NodeSigned, KeySigned: r.KeySigned, AwayMS: r.awayMS, Sender: c.sender,
		}, r.Outputs, nil
	case marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED:
		s, err := c.oneSided(v, item, record)
		return s, nil, err
	case marketv1.CloseAction_CLOSE_ACTION_RECEIPT:
		r, err := v.receipt(item)
		if err != nil {
			return nil, nil, err
		}
		return lease.Receipt{
			Sequence: r.Sequence, ElapsedMS: r.ElapsedMS,
			NodeSigned: r.NodeSigned, KeySigned: r.KeySigned, AwayMS: r.awayMS, Sender: c.sender,
		}, nil, nil
	case marketv1.CloseAction_CLOSE_ACTION_CLAIM:
		claim, err := wire.Open[wire.Claim](c.chainID, item.Proof)
		if err != nil {
			return nil, nil, err
		}
		return lease.Claim{ElapsedMS: claim.Value.ElapsedMS, Sender: c.sender}, nil,
			firstError(v.names(claim.Value.LeaseID), func() error { return verifyBy(v, claim, record.Node) })
	case marketv1.CloseAction_CLOSE_ACTION_CONTEST:
		contest, err := wire.Open[wire.Contest](c.chainID, item.Proof)
		if err != nil {
			return nil, nil, err
		}
		return lease.Contest{ElapsedMS: contest.Value.ElapsedMS, Sender: c.sender}, nil,
			firstError(v.names(contest.Value.LeaseID), func() error { return verifyBy(v, contest, record.ReceiptKey) })
	}
	return nil, nil, types.ErrUnknownAction.Wrapf("%d", item.Action)
}

// oneSided reads a party's own close; a receipt is optional.
func (c *closer) oneSided(v verifier, item *marketv1.CloseItem, record *marketv1.Lease) (lease.Step, error) {
	s := lease.OneSided{Reason: lease.Reason(item.Reason), Sender: c.sender}
	switch c.sender {
	case record.Payer:
		s.By = lease.PartyPayer
	case record.Provider:
		s.By = lease.PartyProvider
	default: // refuse before anything is verified
		return nil, types.ErrNotAParty.Wrap(c.sender)
	}
	if len(item.Proof) == 0 {
		away, err := v.away(item.Away)
		s.AwayMS = away
		return s, err
	}
	r, err := v.receipt(item)
	if err != nil {
		return nil, err
	}
	s.Receipt = &lease.Shown{Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, NodeSigned: r.NodeSigned, KeySigned: r.KeySigned}
	s.AwayMS = r.awayMS
	return s, nil
}

// verifier checks proofs for one lease, charging before each signature.
type verifier struct {
	ctx    sdk.Context
	moment *moment
	record *marketv1.Lease
}

// proven is a receipt and whose signatures it bears.
type proven struct {
	wire.Receipt
	NodeSigned, KeySigned bool
	awayMS                uint64
}

func (v verifier) charge(signatures int) {
	v.ctx.GasMeter().ConsumeGas(v.moment.params.GasPerSignature*uint64(signatures), "nested signatures")
}

// names refuses a proof that speaks of another lease.
func (v verifier) names(id []byte) error {
	if !bytes.Equal(id, v.record.Id) {
		return types.ErrWrongLease.Wrapf("%x", id)
	}
	return nil
}

func (v verifier) receipt(item *marketv1.CloseItem) (proven, error) {
	r, err := wire.Open[wire.Receipt](v.moment.chainID, item.Proof)
	if err != nil {
		return proven{}, err
	}
	if err := v.names(r.Value.LeaseID); err != nil {
		return proven{}, err
	}
	p := proven{Receipt: r.Value}
	if p.awayMS, err = v.away(item.Away); err != nil {
		return p, err
	}
	v.charge(len(r.Sigs))
	p.NodeSigned, p.KeySigned, err = wire.VerifyReceipt(r, v.record.Node, v.record.ReceiptKey)
	return p, err
}

// away verifies an advance acknowledgement, if one came along.
func (v verifier) away(raw []byte) (uint64, error) {
	if len(raw) == 0 {
		return 0, nil
	}
	a, err := wire.Open[wire.Away](v.moment.chainID, raw)
	if err != nil {
		return 0, err
	}
	if err := v.names(a.Value.LeaseID); err != nil {
		return 0, err
	}
	return a.Value.UntilMS, verifyBy(v, a, v.record.ReceiptKey)
}

func verifyBy[T wire.Object](v verifier, s wire.Signed[T], key []byte) error {
	v.charge(1)
	return s.VerifyBy(key)
}

// firstError is err, or what the next check says.
func firstError(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

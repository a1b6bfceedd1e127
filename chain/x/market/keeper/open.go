package keeper

import (
	"bytes"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/money"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// opener opens the items of one message.
type opener struct {
	Keeper
	moment
	till      escrowtypes.Till
	payer     sdk.AccAddress
	payerText string
	// services remembers which kinds and dimensions this message has had checked:
	// the orders of an array job ask for the same ones.
	services map[string]error
}

// item opens one item: the first candidate that is valid. The refusals of
// those before it, or of the item itself, are in the result; an error is a
// failure that is no refusal. first is the proven first candidate.
func (o *opener) item(ctx sdk.Context, item *marketv1.OpenItem, first pair) (marketv1.OpenResult, error) {
	order, rules, err := o.order(ctx, item)
	if err != nil {
		return refusedItem(err)
	}
	view := wire.OrderView(order)
	var result marketv1.OpenResult
	for i := range item.Candidates {
		proven := first
		if i > 0 {
			o.charge(ctx, signaturesPerCandidate)
			proven = o.pair(&item.Candidates[i])
		}
		id, err := o.candidate(ctx, rules, order, view, proven)
		if err == nil {
			result.LeaseId, result.Candidate = id, uint32(i)
			return result, nil
		}
		refusal, fatal := refusal(err)
		if fatal != nil {
			return result, fatal
		}
		refusal.Candidate = uint32(i)
		result.Refusals = append(result.Refusals, refusal)
	}
	return result, nil
}

// order decodes and checks what all candidates of an item share.
func (o *opener) order(ctx sdk.Context, item *marketv1.OpenItem) (wire.Signed[wire.Order], lease.Params, error) {
	order, err := wire.OpenBody[wire.Order](o.chainID, item.Order)
	if err != nil {
		return order, lease.Params{}, err
	}
	if !bytes.Equal(order.Value.Payer, o.payer) {
		return order, lease.Params{}, types.ErrNotPayer.Wrapf("%s", sdk.AccAddress(order.Value.Payer))
	}
	rules, err := o.priced(order.Value.Terms.Denom)
	if err != nil {
		return order, rules, err
	}
	if err := lease.CheckOrder(rules, wire.OrderView(order), o.blockMS); err != nil {
		return order, rules, err
	}
	switch n := len(item.Candidates); {
	case n == 0:
		return order, rules, types.ErrNoCandidates
	case n > rules.MaxCandidates:
		return order, rules, types.ErrTooManyCandidates.Wrapf("%d where %d are allowed", n, rules.MaxCandidates)
	}
	if err := o.service(ctx, order.Value); err != nil {
		return order, rules, err
	}
	used, err := o.UsedOrders.Has(ctx, collections.Join(order.Value.Terms.ExpiresAt, order.Digest[:]))
	if err == nil && used {
		err = types.ErrOrderUsed.Wrapf("%x", order.Digest)
	}
	return order, rules, err
}

// service asks the registry once per message for each set of dimensions.
func (o *opener) service(ctx sdk.Context, order wire.Order) error {
	names := make([]string, len(order.Quantities))
	key := []byte(order.Kind)
	key = append(key, 0, byte(order.KindVersion), byte(order.KindVersion>>8), byte(order.KindVersion>>16))
	for i, q := range order.Quantities {
		names[i] = q.Dimension
		key = append(append(key, 0), q.Dimension...)
	}
	if order.KindVersion >= 1<<24 {
		return o.registry.CheckService(ctx, order.Kind, order.KindVersion, names)
	}
	err, seen := o.services[string(key)]
	if !seen {
		err = o.registry.CheckService(ctx, order.Kind, order.KindVersion, names)
		o.services[string(key)] = err
	}
	return err
}

// candidate opens a lease on one bid and its ready, or refuses and leaves
// nothing behind.
func (o *opener) candidate(ctx sdk.Context, rules lease.Params, order wire.Signed[wire.Order], view lease.OrderView, proven pair) ([]byte, error) {
	bid, ready := proven.bid, proven.ready
	if proven.malformed != nil {
		return nil, proven.malformed
	}
	at := collections.Join(bid.Value.Node, bid.Value.Slot)
	slot, err := o.Slots.Get(ctx, at)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	bidView := wire.BidView(bid)
	if err := lease.CheckPair(rules, view, bidView, wire.ReadyView(ready), o.blockMS, slot.Generation); err != nil {
		return nil, err
	}
	if busy, err := o.openLease(ctx, slot, o.meterMS); err != nil {
		return nil, err
	} else if busy != nil {
		return nil, types.ErrSlotBusy.Wrapf("slot %d serves %x", bid.Value.Slot, busy)
	}
	branch, commit := ctx.CacheContext()
	till := o.till.Branch()
	operator, err := o.admit(branch, till, bid.Value, proven.record)
	if err != nil {
		return nil, err
	}
	if proven.unsigned != nil {
		return nil, proven.unsigned
	}
	opened, err := lease.Open(rules, lease.TermsOf(view, bidView), o.meterMS)
	if err != nil {
		return nil, err
	}
	id, err := o.write(branch, till, opened, order, bid, operator)
	if err != nil {
		return nil, err
	}
	commit()
	till.Commit()
	return id, nil
}

// admit finds whom a bid's node works for. One that the chain does not know
// joins by the record that came along, at the payer's gas; a provider that is
// new with it gets its first fees from the payer too, or a tenant that vanishes
// could keep it from closing.
func (o *opener) admit(ctx sdk.Context, till *escrowtypes.Till, bid wire.Bid, record []byte) (sdk.AccAddress, error) {
	operator, first, err := o.registry.JoinNode(ctx, bid.Node, record, bid.Provider)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(operator, bid.Provider) {
		return nil, types.ErrWrongProvider.Wrapf("%s, the bid names %s", operator, sdk.AccAddress(bid.Provider))
	}
	if !first.IsNil() && first.IsPositive() {
		err = o.escrow.Give(ctx, till, o.payer, operator, first)
	}
	return operator, err
}

// write locks bond and money and records the lease, on a branch that the caller
// commits or drops.
func (o *opener) write(branch sdk.Context, till *escrowtypes.Till, l lease.Lease, order wire.Signed[wire.Order], bid wire.Signed[wire.Bid], operator sdk.AccAddress) ([]byte, error) {
	leaseID := wire.LeaseID(order.Digest, bid.Digest)
	provider, err := o.addresses.BytesToString(operator)
	if err != nil {
		return nil, err
	}
	record := marketv1.Lease{
		Id: leaseID[:], Payer: o.payerText, Provider: provider,
		Node: bid.Value.Node, Slot: bid.Value.Slot, Generation: bid.Value.Generation,
		OrderHash: order.Digest[:], BidHash: bid.Digest[:], SpecHash: order.Value.SpecHash, JobId: order.Value.JobID,
		ReceiptKey: order.Value.Terms.ReceiptKey, Denom: order.Value.Terms.Denom, OpenedHeight: o.height,
	}
	types.FromLease(&record, l)

	if !l.Bond.IsZero() {
		if err := o.registry.LockBond(branch, operator, l.Bond); err != nil {
			return nil, err
		}
	}
	locked, err := l.Hold.Add(l.Bounty)
	if err != nil {
		return nil, err
	}
	if err := o.escrow.Lock(branch, till, o.payer, types.SubjectLease, record.Id, money.Coin(record.Denom, locked)); err != nil {
		return nil, err
	}
	if err := o.UsedOrders.Set(branch, collections.Join(order.Value.Terms.ExpiresAt, record.OrderHash)); err != nil {
		return nil, err
	}
	slot := marketv1.SlotState{Node: record.Node, Slot: record.Slot, Generation: record.Generation, LeaseId: record.Id}
	if err := o.Slots.Set(branch, collections.Join(record.Node, record.Slot), slot); err != nil {
		return nil, err
	}
	if err := o.insert(branch, record, l, o.payer, operator); err != nil {
		return nil, err
	}
	emitOpened(branch, &record)
	return record.Id, nil
}

// insert writes a lease with its indexes and its place in a queue.
func (k Keeper) insert(ctx sdk.Context, record marketv1.Lease, l lease.Lease, payer, provider sdk.AccAddress) error {
	if err := k.Leases.Set(ctx, record.Id, record); err != nil {
		return err
	}
	if err := k.ByPayer.Set(ctx, collections.Join3(payer, record.OpenedAt, record.Id)); err != nil {
		return err
	}
	if err := k.ByProvider.Set(ctx, collections.Join3(provider, record.OpenedAt, record.Id)); err != nil {
		return err
	}
	return k.enqueue(ctx, record.Id, l)
}

// refusedItem is the result of an item that no candidate was tried for.
func refusedItem(err error) (marketv1.OpenResult, error) {
	r, fatal := refusal(err)
	if fatal != nil {
		return marketv1.OpenResult{}, fatal
	}
	return marketv1.OpenResult{Refusals: []marketv1.Refusal{r}}, nil
}

// refusal turns a refusal into what a response carries; an error without a
// registered code is a failure of the node and comes back as fatal.
func refusal(err error) (r marketv1.Refusal, fatal error) {
	err = types.Coded(err)
	codespace, code, text, ok := types.Refused(err)
	if !ok {
		return r, err
	}
	return marketv1.Refusal{Codespace: codespace, Code: code, Text: text}, nil
}

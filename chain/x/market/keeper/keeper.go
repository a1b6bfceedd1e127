// Package keeper keeps leases, slots and the queues of their deadlines. What
// may happen to a lease is decided by mechanism/lease; whose bytes are whose by
// wire; the money is the escrow's and the bonds are the registry's.
package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

type (
	slotKey = collections.Pair[[]byte, uint32]
	// dueKey is (meter ms, lease id).
	dueKey = collections.Pair[uint64, []byte]
	// usedKey is (unix ms of expiry, order hash): an order carries its expiry, so
	// one key both finds it and queues it.
	usedKey = collections.Pair[int64, []byte]
	// partyKey is (account, meter ms of opening, lease id): a party's leases in
	// the order in which they opened.
	partyKey = collections.Triple[sdk.AccAddress, uint64, []byte]
)

// Keeper is the module's schema and the keepers it leans on.
type Keeper struct {
	registry  types.RegistryKeeper
	escrow    types.EscrowKeeper
	addresses address.Codec
	authority string

	Schema collections.Schema
	Params collections.Item[marketv1.Params]
	Leases collections.Map[[]byte, marketv1.Lease]
	// Slots remember each slot's last generation and the lease it opened. Whether
	// that lease is still open is the lease's to say, so closing writes no slot.
	Slots collections.Map[slotKey, marketv1.SlotState]
	// Deadlines queue every lease that is not closed by its Deadline.
	Deadlines collections.KeySet[dueKey]
	// Prune queues closed leases by the end of their memory.
	Prune      collections.KeySet[dueKey]
	UsedOrders collections.KeySet[usedKey]
	ByPayer    collections.KeySet[partyKey]
	ByProvider collections.KeySet[partyKey]
}

// New makes a keeper; authority is the account that may change parameters.
func New(cdc codec.BinaryCodec, service store.KVStoreService, registry types.RegistryKeeper, escrow types.EscrowKeeper, addresses address.Codec, authority string) Keeper {
	sb := collections.NewSchemaBuilder(service)
	due := collections.PairKeyCodec(collections.Uint64Key, collections.BytesKey)
	party := collections.TripleKeyCodec(sdk.AccAddressKey, collections.Uint64Key, collections.BytesKey)
	k := Keeper{
		registry: registry, escrow: escrow, addresses: addresses, authority: authority,
		Params: collections.NewItem(sb, types.ParamsKey, "params", codec.CollValue[marketv1.Params](cdc)),
		Leases: collections.NewMap(sb, types.LeasesPrefix, "leases", collections.BytesKey, codec.CollValue[marketv1.Lease](cdc)),
		Slots: collections.NewMap(sb, types.SlotsPrefix, "slots",
			collections.PairKeyCodec(collections.BytesKey, collections.Uint32Key), codec.CollValue[marketv1.SlotState](cdc)),
		Deadlines: collections.NewKeySet(sb, types.DeadlinesPrefix, "deadlines", due),
		Prune:     collections.NewKeySet(sb, types.PrunePrefix, "prune", due),
		UsedOrders: collections.NewKeySet(sb, types.UsedOrdersPrefix, "used_orders",
			collections.PairKeyCodec(collections.Int64Key, collections.BytesKey)),
		ByPayer:    collections.NewKeySet(sb, types.ByPayerPrefix, "by_payer", party),
		ByProvider: collections.NewKeySet(sb, types.ByProviderPrefix, "by_provider", party),
	}
	schema, err := sb.Build()
	if err != nil {
		panic(err) // two collections share a prefix: a programming error
	}
	k.Schema = schema
	return k
}

// moment is what every item of a message is judged by, loaded once.
type moment struct {
	params  marketv1.Params
	rules   lease.Params
	chainID string
	blockMS int64
	meterMS uint64
	height  uint64
}

func (k Keeper) moment(ctx sdk.Context) (moment, error) {
	params, err := k.Params.Get(ctx)
	if err != nil {
		return moment{}, err
	}
	rules := types.LeaseParams(params)
	if rules.Take, err = k.escrow.TakeParams(ctx); err != nil {
		return moment{}, err
	}
	meter, err := k.escrow.MeterNow(ctx)
	return moment{
		params: params, rules: rules, chainID: ctx.ChainID(),
		blockMS: ctx.BlockTime().UnixMilli(), meterMS: meter, height: uint64(ctx.BlockHeight()),
	}, err
}

// priced are the rules for a lease in one denomination: its bounty added.
// ErrDenomUnpriced if governance lists no such denomination.
func (m moment) priced(denom string) (lease.Params, error) {
	for _, d := range m.params.Denoms {
		if d.Denom == denom {
			rules := m.rules
			bounty, err := amount.Parse(d.Bounty)
			rules.Bounty = bounty
			return rules, err
		}
	}
	return lease.Params{}, types.ErrDenomUnpriced.Wrap(denom)
}

// lease loads a lease; ErrUnknownLease if it never was, or was pruned.
func (k Keeper) lease(ctx context.Context, id []byte) (marketv1.Lease, lease.Lease, error) {
	record, err := k.Leases.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return record, lease.Lease{}, types.ErrUnknownLease.Wrapf("%.20x", id)
	} else if err != nil {
		return record, lease.Lease{}, err
	}
	l, err := types.ToLease(&record)
	return record, l, err
}

// openLease is the lease that a slot serves now, judged by the meter: one past
// its dry_at has freed the slot, whether or not the queue has been there.
func (k Keeper) openLease(ctx context.Context, slot marketv1.SlotState, meterMS uint64) ([]byte, error) {
	if len(slot.LeaseId) == 0 {
		return nil, nil
	}
	_, l, err := k.lease(ctx, slot.LeaseId)
	switch {
	case errors.Is(err, types.ErrUnknownLease):
		return nil, nil // closed and pruned
	case err != nil:
		return nil, err
	case l.StateAt(meterMS) == lease.StateOpen:
		return slot.LeaseId, nil
	}
	return nil, nil
}

// parties are the accounts of a lease.
func (k Keeper) parties(record *marketv1.Lease) (payer, provider sdk.AccAddress, err error) {
	if payer, err = k.account(record.Payer); err != nil {
		return nil, nil, err
	}
	provider, err = k.account(record.Provider)
	return payer, provider, err
}

// account reads an account address.
func (k Keeper) account(text string) (sdk.AccAddress, error) {
	b, err := k.addresses.StringToBytes(text)
	if err != nil {
		return nil, types.ErrInvalidAddress.Wrap(err.Error())
	}
	return b, nil
}

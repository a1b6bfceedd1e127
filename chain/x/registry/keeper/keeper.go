// Package keeper keeps providers, their nodes and bonds, and the governed rows
// (service kinds, dimensions, parameters). It judges no lease: the market asks
// it who a node works for, and to lock and release bond.
package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
)

type (
	kindKey     = collections.Pair[string, uint64]
	nodeKey     = collections.Pair[sdk.AccAddress, []byte]
	dueKey      = collections.Pair[int64, uint64]
	operatorDue = collections.Pair[sdk.AccAddress, uint64]
)

// Keeper is the module's schema and its way to the bank.
type Keeper struct {
	bank      types.BankKeeper
	addresses address.Codec
	authority string

	Schema     collections.Schema
	Params     collections.Item[registryv1.Params]
	Kinds      collections.Map[kindKey, registryv1.ServiceKind]
	Dimensions collections.Map[string, registryv1.Dimension]
	Providers  collections.Map[sdk.AccAddress, registryv1.Provider]
	Nodes      collections.Map[[]byte, registryv1.Node]
	// NodesByOperator indexes Nodes.
	NodesByOperator collections.KeySet[nodeKey]
	Unbondings      collections.Map[uint64, registryv1.Unbonding]
	// UnbondingQueue orders Unbondings by completion, in unix ms.
	UnbondingQueue       collections.KeySet[dueKey]
	UnbondingsByOperator collections.KeySet[operatorDue]
	NextUnbonding        collections.Sequence
}

// New makes a keeper; authority is the account that may change parameters.
func New(cdc codec.BinaryCodec, service store.KVStoreService, bank types.BankKeeper, addresses address.Codec, authority string) Keeper {
	sb := collections.NewSchemaBuilder(service)
	k := Keeper{
		bank: bank, addresses: addresses, authority: authority,
		Params: collections.NewItem(sb, types.ParamsKey, "params", codec.CollValue[registryv1.Params](cdc)),
		Kinds: collections.NewMap(sb, types.KindsPrefix, "kinds",
			collections.PairKeyCodec(collections.StringKey, collections.Uint64Key), codec.CollValue[registryv1.ServiceKind](cdc)),
		Dimensions: collections.NewMap(sb, types.DimensionsPrefix, "dimensions", collections.StringKey, codec.CollValue[registryv1.Dimension](cdc)),
		Providers:  collections.NewMap(sb, types.ProvidersPrefix, "providers", sdk.AccAddressKey, codec.CollValue[registryv1.Provider](cdc)),
		Nodes:      collections.NewMap(sb, types.NodesPrefix, "nodes", collections.BytesKey, codec.CollValue[registryv1.Node](cdc)),
		NodesByOperator: collections.NewKeySet(sb, types.NodesByOperatorPrefix, "nodes_by_operator",
			collections.PairKeyCodec(sdk.AccAddressKey, collections.BytesKey)),
		Unbondings: collections.NewMap(sb, types.UnbondingsPrefix, "unbondings", collections.Uint64Key, codec.CollValue[registryv1.Unbonding](cdc)),
		UnbondingQueue: collections.NewKeySet(sb, types.UnbondingQueuePrefix, "unbonding_queue",
			collections.PairKeyCodec(collections.Int64Key, collections.Uint64Key)),
		UnbondingsByOperator: collections.NewKeySet(sb, types.UnbondingsByOperator, "unbondings_by_operator",
			collections.PairKeyCodec(sdk.AccAddressKey, collections.Uint64Key)),
		NextUnbonding: collections.NewSequence(sb, types.NextUnbondingKey, "next_unbonding"),
	}
	schema, err := sb.Build()
	if err != nil {
		panic(err) // two collections share a prefix: a programming error
	}
	k.Schema = schema
	return k
}

// MinGasPrice is the governed fee floor: price base units of denom per
// 1,000,000 gas. The ante handler asks it of every transaction.
func (k Keeper) MinGasPrice(ctx context.Context) (denom string, price uint64, err error) {
	p, err := k.Params.Get(ctx)
	return p.BondDenom, p.MinGasPrice, err
}

// AdmitNode tells for which operator a node may take a new lease.
// ErrUnknownNode, ErrNodeRevoked or ErrLeaving if it may not.
func (k Keeper) AdmitNode(ctx context.Context, node []byte) (sdk.AccAddress, error) {
	n, err := k.node(ctx, node)
	if err != nil {
		return nil, err
	}
	if n.RevokedAt != 0 {
		return nil, types.ErrNodeRevoked.Wrapf("%x", node)
	}
	operator, err := k.operator(n.Operator)
	if err != nil {
		return nil, err
	}
	p, err := k.provider(ctx, operator)
	if err != nil {
		return nil, err
	}
	if p.Leaving {
		return nil, types.ErrLeaving.Wrap(n.Operator)
	}
	return operator, nil
}

// CheckService reports ErrUnknownKind or ErrUnknownDimension if governance
// knows no such service kind, or no such dimension.
func (k Keeper) CheckService(ctx context.Context, kind string, version uint64, dimensions []string) error {
	has, err := k.Kinds.Has(ctx, collections.Join(kind, version))
	if err != nil {
		return err
	}
	if !has {
		return types.ErrUnknownKind.Wrapf("%s version %d", kind, version)
	}
	for _, d := range dimensions {
		if has, err = k.Dimensions.Has(ctx, d); err != nil {
			return err
		} else if !has {
			return types.ErrUnknownDimension.Wrap(d)
		}
	}
	return nil
}

// RecordLease adds a closed lease to its provider's aggregates, which outlive
// the lease's own record, and to its bond the part of what was earned that the
// rules put there. The caller has the coins of that part sent to the module's
// account, in the same block.
func (k Keeper) RecordLease(ctx context.Context, operator sdk.AccAddress, seconds uint64, earned sdk.Coin) (bonded amount.Amount, err error) {
	p, b, err := k.bonded(ctx, operator)
	if err != nil {
		return bonded, err
	}
	p.LeasesClosed++
	p.SecondsServed += seconds
	if earned.IsPositive() {
		p.Earned = sdk.Coins(p.Earned).Add(earned)
		if bonded, err = k.fill(ctx, p, &b, earned); err != nil {
			return bonded, err
		}
	}
	return bonded, k.setBond(ctx, operator, p, b)
}

// node loads a node; ErrUnknownNode if it was never registered.
func (k Keeper) node(ctx context.Context, key []byte) (registryv1.Node, error) {
	n, err := k.Nodes.Get(ctx, key)
	if errors.Is(err, collections.ErrNotFound) {
		return n, types.ErrUnknownNode.Wrapf("%x", key)
	}
	return n, err
}

// provider loads a provider; ErrUnknownProvider if the account is none.
func (k Keeper) provider(ctx context.Context, operator sdk.AccAddress) (registryv1.Provider, error) {
	p, err := k.Providers.Get(ctx, operator)
	if errors.Is(err, collections.ErrNotFound) {
		return p, types.ErrUnknownProvider.Wrap(operator.String())
	}
	return p, err
}

// operator reads an account address.
func (k Keeper) operator(text string) (sdk.AccAddress, error) {
	b, err := k.addresses.StringToBytes(text)
	if err != nil {
		return nil, types.ErrInvalidAddress.Wrap(err.Error())
	}
	return b, nil
}

package keeper

import (
	"context"
	"encoding/hex"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
)

type queryServer struct{ k Keeper }

// NewQueryServer serves the module's queries.
func NewQueryServer(k Keeper) marketv1.QueryServer { return queryServer{k} }

// Params implements marketv1.QueryServer.
func (s queryServer) Params(ctx context.Context, _ *marketv1.QueryParamsRequest) (*marketv1.QueryParamsResponse, error) {
	p, err := s.k.Params.Get(ctx)
	return &marketv1.QueryParamsResponse{Params: p}, err
}

// Lease implements marketv1.QueryServer.
func (s queryServer) Lease(ctx context.Context, req *marketv1.QueryLeaseRequest) (*marketv1.QueryLeaseResponse, error) {
	id, err := hex.DecodeString(req.Id)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "a lease id is 40 hex digits: %s", err)
	}
	l, err := s.k.Leases.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "no lease %s: it never opened, or was closed long ago and is pruned", req.Id)
	}
	return &marketv1.QueryLeaseResponse{Lease: l}, err
}

// Leases implements marketv1.QueryServer: by payer or by provider, each an
// index in order of opening; both filter the payer's.
func (s queryServer) Leases(ctx context.Context, req *marketv1.QueryLeasesRequest) (*marketv1.QueryLeasesResponse, error) {
	wanted := func(l *marketv1.Lease) bool {
		return (req.State == 0 || l.State == req.State) && (req.Provider == "" || l.Provider == req.Provider)
	}
	switch {
	case req.Payer != "":
		return s.byParty(ctx, s.k.ByPayer, "payer", req.Payer, req.Pagination, wanted)
	case req.Provider != "":
		return s.byParty(ctx, s.k.ByProvider, "provider", req.Provider, req.Pagination, wanted)
	}
	all, page, err := query.CollectionFilteredPaginate(ctx, s.k.Leases, req.Pagination,
		func(_ []byte, l marketv1.Lease) (bool, error) { return wanted(&l), nil },
		func(_ []byte, l marketv1.Lease) (marketv1.Lease, error) { return l, nil })
	return &marketv1.QueryLeasesResponse{Leases: all, Pagination: page}, err
}

func (s queryServer) byParty(ctx context.Context, index collections.KeySet[partyKey], role, text string, page *query.PageRequest, wanted func(*marketv1.Lease) bool) (*marketv1.QueryLeasesResponse, error) {
	account, err := s.k.addresses.StringToBytes(text)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%s: %s", role, err)
	}
	var found marketv1.Lease // the filter has loaded what the transform returns
	all, next, err := query.CollectionFilteredPaginate(ctx, index, page,
		func(key partyKey, _ collections.NoValue) (bool, error) {
			var err error
			found, err = s.k.Leases.Get(ctx, key.K3())
			return err == nil && wanted(&found), err
		},
		func(partyKey, collections.NoValue) (marketv1.Lease, error) { return found, nil },
		func(o *query.CollectionsPaginateOptions[partyKey]) {
			prefix := collections.TriplePrefix[sdk.AccAddress, uint64, []byte](account)
			o.Prefix = &prefix
		})
	return &marketv1.QueryLeasesResponse{Leases: all, Pagination: next}, err
}

// Slot implements marketv1.QueryServer.
func (s queryServer) Slot(ctx context.Context, req *marketv1.QuerySlotRequest) (*marketv1.QuerySlotResponse, error) {
	node, err := hex.DecodeString(req.Node)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node is a public key in hex: %s", err)
	}
	slot, err := s.k.Slots.Get(ctx, collections.Join(node, req.Slot))
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	meter, err := s.k.escrow.MeterNow(ctx)
	if err != nil {
		return nil, err
	}
	open, err := s.k.openLease(ctx, slot, meter)
	return &marketv1.QuerySlotResponse{Generation: slot.Generation, LeaseId: open}, err
}

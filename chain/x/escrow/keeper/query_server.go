package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
)

type queryServer struct{ k Keeper }

// NewQueryServer serves the module's queries.
func NewQueryServer(k Keeper) escrowv1.QueryServer { return queryServer{k} }

// Params implements escrowv1.QueryServer.
func (s queryServer) Params(ctx context.Context, _ *escrowv1.QueryParamsRequest) (*escrowv1.QueryParamsResponse, error) {
	p, err := s.k.Params.Get(ctx)
	return &escrowv1.QueryParamsResponse{Params: p}, err
}

// MeterClock implements escrowv1.QueryServer.
func (s queryServer) MeterClock(ctx context.Context, _ *escrowv1.QueryMeterClockRequest) (*escrowv1.QueryMeterClockResponse, error) {
	clock, err := s.k.Clock.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	return &escrowv1.QueryMeterClockResponse{Clock: clock}, nil
}

// Holds implements escrowv1.QueryServer.
func (s queryServer) Holds(ctx context.Context, req *escrowv1.QueryHoldsRequest) (*escrowv1.QueryHoldsResponse, error) {
	var opts []func(*query.CollectionsPaginateOptions[holdKey])
	if req.Owner != "" {
		owner, err := s.k.addresses.StringToBytes(req.Owner)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "owner: %s", err)
		}
		opts = append(opts, func(o *query.CollectionsPaginateOptions[holdKey]) {
			prefix := collections.TriplePrefix[sdk.AccAddress, string, []byte](owner)
			o.Prefix = &prefix
		})
	}
	holds, page, err := query.CollectionPaginate(ctx, s.k.Holds, req.Pagination,
		func(_ holdKey, h escrowv1.Hold) (escrowv1.Hold, error) { return h, nil }, opts...)
	return &escrowv1.QueryHoldsResponse{Holds: holds, Pagination: page}, err
}

// Totals implements escrowv1.QueryServer.
func (s queryServer) Totals(ctx context.Context, _ *escrowv1.QueryTotalsRequest) (*escrowv1.QueryTotalsResponse, error) {
	totals, err := s.k.Totals.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	return &escrowv1.QueryTotalsResponse{Totals: totals}, nil
}

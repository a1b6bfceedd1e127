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

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
)

type queryServer struct{ k Keeper }

// NewQueryServer serves the module's queries.
func NewQueryServer(k Keeper) registryv1.QueryServer { return queryServer{k} }

// Params implements registryv1.QueryServer.
func (s queryServer) Params(ctx context.Context, _ *registryv1.QueryParamsRequest) (*registryv1.QueryParamsResponse, error) {
	p, err := s.k.Params.Get(ctx)
	return &registryv1.QueryParamsResponse{Params: p}, err
}

// Provider implements registryv1.QueryServer.
func (s queryServer) Provider(ctx context.Context, req *registryv1.QueryProviderRequest) (*registryv1.QueryProviderResponse, error) {
	operator, err := s.address("operator", req.Operator)
	if err != nil {
		return nil, err
	}
	p, err := s.k.Providers.Get(ctx, operator)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "%s is not a provider", req.Operator)
	} else if err != nil {
		return nil, err
	}
	res := &registryv1.QueryProviderResponse{Provider: p}
	rng := collections.NewPrefixedPairRange[sdk.AccAddress, uint64](operator)
	err = s.k.UnbondingsByOperator.Walk(ctx, rng, func(key operatorDue) (bool, error) {
		u, err := s.k.Unbondings.Get(ctx, key.K2())
		res.Unbonding = append(res.Unbonding, u)
		return false, err
	})
	return res, err
}

// Providers implements registryv1.QueryServer.
func (s queryServer) Providers(ctx context.Context, req *registryv1.QueryProvidersRequest) (*registryv1.QueryProvidersResponse, error) {
	all, page, err := query.CollectionPaginate(ctx, s.k.Providers, req.Pagination,
		func(_ sdk.AccAddress, p registryv1.Provider) (registryv1.Provider, error) { return p, nil })
	return &registryv1.QueryProvidersResponse{Providers: all, Pagination: page}, err
}

// Node implements registryv1.QueryServer.
func (s queryServer) Node(ctx context.Context, req *registryv1.QueryNodeRequest) (*registryv1.QueryNodeResponse, error) {
	key, err := hex.DecodeString(req.Node)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node is a public key in hex: %s", err)
	}
	n, err := s.k.Nodes.Get(ctx, key)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "no node %s", req.Node)
	}
	return &registryv1.QueryNodeResponse{Node: n}, err
}

// Nodes implements registryv1.QueryServer.
func (s queryServer) Nodes(ctx context.Context, req *registryv1.QueryNodesRequest) (*registryv1.QueryNodesResponse, error) {
	live := func(n registryv1.Node) bool { return !req.Live || n.RevokedAt == 0 }
	if req.Operator == "" {
		all, page, err := query.CollectionFilteredPaginate(ctx, s.k.Nodes, req.Pagination,
			func(_ []byte, n registryv1.Node) (bool, error) { return live(n), nil },
			func(_ []byte, n registryv1.Node) (registryv1.Node, error) { return n, nil })
		return &registryv1.QueryNodesResponse{Nodes: all, Pagination: page}, err
	}
	operator, err := s.address("operator", req.Operator)
	if err != nil {
		return nil, err
	}
	all, page, err := query.CollectionFilteredPaginate(ctx, s.k.NodesByOperator, req.Pagination,
		func(key nodeKey, _ collections.NoValue) (bool, error) {
			n, err := s.k.Nodes.Get(ctx, key.K2())
			return err == nil && live(n), err
		},
		func(key nodeKey, _ collections.NoValue) (registryv1.Node, error) { return s.k.Nodes.Get(ctx, key.K2()) },
		query.WithCollectionPaginationPairPrefix[sdk.AccAddress, []byte](operator))
	return &registryv1.QueryNodesResponse{Nodes: all, Pagination: page}, err
}

// ServiceKinds implements registryv1.QueryServer.
func (s queryServer) ServiceKinds(ctx context.Context, _ *registryv1.QueryServiceKindsRequest) (*registryv1.QueryServiceKindsResponse, error) {
	rows, err := values(ctx, s.k.Kinds)
	return &registryv1.QueryServiceKindsResponse{ServiceKinds: rows}, err
}

// Dimensions implements registryv1.QueryServer.
func (s queryServer) Dimensions(ctx context.Context, _ *registryv1.QueryDimensionsRequest) (*registryv1.QueryDimensionsResponse, error) {
	rows, err := values(ctx, s.k.Dimensions)
	return &registryv1.QueryDimensionsResponse{Dimensions: rows}, err
}

func (s queryServer) address(what, text string) (sdk.AccAddress, error) {
	b, err := s.k.addresses.StringToBytes(text)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%s: %s", what, err)
	}
	return b, nil
}

package chain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	jsonrpcclient "github.com/cometbft/cometbft/rpc/jsonrpc/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"
)

// callTimeout bounds one RPC call whose context has no nearer deadline.
const callTimeout = 15 * time.Second

// Client speaks to one node. Make one per process with Dial and share it.
type Client struct {
	rpcURL  string
	chainID string
	rpc     *rpchttp.HTTP
	http    *http.Client // below rpc
	cdc     codec.Codec
	reg     codectypes.InterfaceRegistry
	feed    *feed

	mu            sync.Mutex
	gasPrice      uint64 // base units per 1e6 gas
	gasPriceKnown bool
	accounts      map[string]uint64 // account numbers by address
}

// Dial reaches a node's RPC endpoint ("http://host:26657"), learns its chain id
// and subscribes to its blocks, so that later waits cost no round trip. The
// subscription outlives ctx; Close ends it. ErrUnreachable if nobody answers.
func Dial(ctx context.Context, rpcURL string) (*Client, error) {
	rpcURL = strings.TrimRight(strings.TrimSpace(rpcURL), "/")
	if !strings.HasPrefix(rpcURL, "http://") && !strings.HasPrefix(rpcURL, "https://") {
		return nil, fmt.Errorf("%q is not an RPC address: it looks like http://127.0.0.1:26657", rpcURL)
	}
	httpClient, err := jsonrpcclient.DefaultHTTPClient(rpcURL)
	if err != nil {
		return nil, fmt.Errorf("RPC address %q: %w", rpcURL, err)
	}
	if t, ok := httpClient.Transport.(*http.Transport); ok {
		t.MaxIdleConnsPerHost = 16 // Scan and concurrent senders keep their connections
	}
	rpc, err := rpchttp.NewWithClient(rpcURL, "/websocket", httpClient)
	if err != nil {
		return nil, fmt.Errorf("RPC address %q: %w", rpcURL, err)
	}
	cdc, reg, err := newCodec()
	if err != nil {
		return nil, err
	}
	c := &Client{rpcURL: rpcURL, rpc: rpc, http: httpClient, cdc: cdc, reg: reg, accounts: map[string]uint64{}}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	status, err := rpc.Status(callCtx)
	if err != nil {
		return nil, c.unreachable(err)
	}
	c.chainID = status.NodeInfo.Network
	head, err := c.committed(callCtx)
	if err != nil {
		return nil, err
	}
	c.feed = newFeed(c, head, status.SyncInfo.LatestBlockTime)
	return c, nil
}

// Close ends the subscription and every Follower.
func (c *Client) Close() error {
	c.feed.close()
	return nil
}

// ChainID names the chain, for example "moyai-dev-1".
func (c *Client) ChainID() string { return c.chainID }

// RPC is the address given to Dial.
func (c *Client) RPC() string { return c.rpcURL }

// Codec encodes and decodes every message this package knows.
func (c *Client) Codec() codec.Codec { return c.cdc }

// Height returns the last height the ledger has committed.
func (c *Client) Height(ctx context.Context) (int64, error) { return c.committed(ctx) }

// Invoke makes *Client a grpc.ClientConnInterface over ABCI queries, so that
// every generated query client works on it: marketv1.NewQueryClient(c).
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	req, ok := args.(proto.Message)
	if !ok {
		return fmt.Errorf("query %s: request is %T, not a message", method, args)
	}
	resp, ok := reply.(proto.Message)
	if !ok {
		return fmt.Errorf("query %s: reply is %T, not a message", method, reply)
	}
	data, err := proto.Marshal(req)
	if err != nil {
		return fmt.Errorf("query %s: encode: %w", method, err)
	}
	value, err := c.abciQuery(ctx, method, data)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(value, resp); err != nil {
		return fmt.Errorf("query %s: decode: %w", method, err)
	}
	return codectypes.UnpackInterfaces(resp, c.reg)
}

// NewStream is there for grpc.ClientConnInterface; queries have no streams.
func (c *Client) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("the chain has no streaming queries")
}

func (c *Client) abciQuery(ctx context.Context, path string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := c.rpc.ABCIQuery(ctx, path, data)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.Response.Code != abci.CodeTypeOK {
		return nil, &Error{Code: Code{res.Response.Codespace, res.Response.Code}, Text: res.Response.Log}
	}
	return res.Response.Value, nil
}

// unreachable marks transport failures, and leaves the caller's own
// cancellation recognisable.
func (c *Client) unreachable(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.rpcURL, err)
}

// Now is the chain's clock as far as this client knows it: the local clock while
// the chain keeps up with it, else the last block's time.
func (c *Client) Now() time.Time { return c.feed.now() }

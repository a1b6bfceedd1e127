package chain

import (
	"context"
	"fmt"

	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	"golang.org/x/sync/errgroup"
)

// scanAhead is how many blocks Scan fetches at once.
const scanAhead = 8

// Block reads one committed block over RPC. ErrPruned if the node no longer has
// it, ErrUnreachable if the node does not answer.
func (c *Client) Block(ctx context.Context, height int64) (*Block, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var block *ctypes.ResultBlock
	var results *ctypes.ResultBlockResults
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { block, err = c.rpc.Block(gctx, &height); return err })
	g.Go(func() (err error) { results, err = c.rpc.BlockResults(gctx, &height); return err })
	if err := g.Wait(); err != nil {
		return nil, c.blockError(ctx, height, err)
	}
	raws := make([][]byte, len(block.Block.Txs))
	for i, tx := range block.Block.Txs {
		raws[i] = tx
	}
	return newBlock(height, block.Block.Time, raws, results.TxsResults, results.FinalizeBlockEvents), nil
}

// blockError tells a pruned block from an endpoint that is away: the RPC gives
// both as text only.
func (c *Client) blockError(ctx context.Context, height int64, cause error) error {
	status, err := c.rpc.Status(ctx)
	if err != nil {
		return c.unreachable(cause)
	}
	if height < status.SyncInfo.EarliestBlockHeight {
		return fmt.Errorf("height %d: %w (lowest is %d)", height, ErrPruned, status.SyncInfo.EarliestBlockHeight)
	}
	return fmt.Errorf("read height %d: %w", height, cause)
}

// Scan calls fn for every committed block from height from to height to, both
// included, in order. It ends at the first error of fn.
func (c *Client) Scan(ctx context.Context, from, to int64, fn func(*Block) error) error {
	if from < 1 || to < from {
		return fmt.Errorf("scan from %d to %d: heights start at 1 and must not go down", from, to)
	}
	for start := from; start <= to; start += scanAhead {
		n := min(scanAhead, to-start+1)
		blocks := make([]*Block, n)
		g, gctx := errgroup.WithContext(ctx)
		for i := range blocks {
			g.Go(func() (err error) {
				blocks[i], err = c.Block(gctx, start+int64(i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, b := range blocks {
			if err := fn(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// committed is the height the ledger has committed. The block store of a node
// may be one ahead of it, and a query would not see that block yet.
func (c *Client) committed(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := c.rpc.ABCIInfo(ctx)
	if err != nil {
		return 0, c.unreachable(err)
	}
	return info.Response.LastBlockHeight, nil
}

package chain

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// scanAhead is how many blocks Scan fetches at once; a node gives 20 headers in
// one answer.
const scanAhead = 16

// Block reads one committed block over RPC. ErrPruned if the node no longer has
// it, ErrUnreachable if the node does not answer.
func (c *Client) Block(ctx context.Context, height int64) (*Block, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	blocks, err := c.blocks(ctx, height, height)
	if err != nil {
		return nil, err
	}
	return blocks[0], nil
}

// blocks reads a short range: the headers in one call, each block's results, and
// the transactions of those that have any. Most blocks of a quiet chain are empty.
func (c *Client) blocks(ctx context.Context, from, to int64) ([]*Block, error) {
	info, err := c.rpc.BlockchainInfo(ctx, from, to)
	if err != nil {
		return nil, c.blockError(ctx, from, err)
	}
	if int64(len(info.BlockMetas)) != to-from+1 {
		return nil, c.blockError(ctx, from, fmt.Errorf("%d headers of %d", len(info.BlockMetas), to-from+1))
	}
	out := make([]*Block, len(info.BlockMetas))
	g, gctx := errgroup.WithContext(ctx)
	for _, meta := range info.BlockMetas { // newest first
		height := meta.Header.Height
		if height < from || height > to {
			return nil, fmt.Errorf("asked for headers %d to %d, got %d", from, to, height)
		}
		g.Go(func() error {
			var raws [][]byte
			if meta.NumTxs > 0 {
				block, err := c.rpc.Block(gctx, &height)
				if err != nil {
					return c.blockError(ctx, height, err)
				}
				for _, tx := range block.Block.Txs {
					raws = append(raws, tx)
				}
			}
			results, err := c.rpc.BlockResults(gctx, &height)
			if err != nil {
				return c.blockError(ctx, height, err)
			}
			out[height-from] = newBlock(height, meta.Header.Time, raws, results.TxsResults, results.FinalizeBlockEvents)
			return nil
		})
	}
	return out, g.Wait()
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
		part, cancel := context.WithTimeout(ctx, callTimeout)
		blocks, err := c.blocks(part, start, min(start+scanAhead-1, to))
		cancel()
		if err != nil {
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

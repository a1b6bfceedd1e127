package load

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
)

// phase is a load: signed transactions, and what became of them.
type phase struct {
	txs [][]byte

	took     time.Duration // first broadcast → last block committed
	cpu      time.Duration // used by the validator meanwhile; zero where /proc is not
	from, to int64         // heights
	ops      int           // leases opened or closed, or transfers made
	gas      int64
	bytes    int
}

const (
	// pollEvery bounds the error of a phase's end.
	pollEvery = 10 * time.Millisecond
	// stalled is how long no transaction may be committed before we give up.
	stalled = 20 * time.Second
	// metasPerCall is CometBFT's limit.
	metasPerCall = 20
)

// run sends everything as fast as the chain takes it, at most inFlight
// transactions ahead of the last block, and waits until all are committed.
func (p *phase) run(ctx context.Context, l *ledger, inFlight int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var err error
	if p.from, err = l.height(ctx); err != nil {
		return err
	}
	var (
		next, sent, committed atomic.Int64
		wg                    sync.WaitGroup
	)
	begin, cpu := time.Now(), cpuTime(l.pid())
	for range connections {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(p.txs)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				for sent.Load()-committed.Load() >= int64(inFlight) && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				if err := l.broadcast(ctx, p.txs[i]); err != nil {
					cancel(fmt.Errorf("transaction %d of %d: %w", i+1, len(p.txs), err))
					return
				}
				sent.Add(1)
			}
		})
	}
	err = p.watch(ctx, l, &committed)
	p.took, p.cpu = time.Since(begin), cpuTime(l.pid())-cpu
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	if err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// broadcast offers a transaction until the mempool has room for it.
func (l *ledger) broadcast(ctx context.Context, tx []byte) error {
	for {
		res, err := l.rpc.BroadcastTxSync(ctx, tx)
		switch {
		case err == nil && res.Code == 0:
			return nil
		case err == nil:
			return fmt.Errorf("refused with %s/%d: %s", res.Codespace, res.Code, res.Log)
		case !strings.Contains(err.Error(), "mempool is full"):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// watch counts transactions in committed blocks until all are there. It asks for
// headers only, and only for heights that the application has committed.
func (p *phase) watch(ctx context.Context, l *ledger, committed *atomic.Int64) error {
	seen := p.from
	progress := time.Now()
	for committed.Load() < int64(len(p.txs)) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
		head, err := l.height(ctx)
		if err != nil {
			return err
		}
		for seen < head {
			to := min(head, seen+metasPerCall)
			info, err := l.rpc.BlockchainInfo(ctx, seen+1, to)
			if err != nil {
				return err
			}
			for _, m := range info.BlockMetas {
				if m.NumTxs > 0 {
					committed.Add(int64(m.NumTxs))
					progress, p.to = time.Now(), max(p.to, m.Header.Height)
				}
			}
			seen = to
		}
		if time.Since(progress) > stalled {
			return fmt.Errorf("only %d of %d transactions were committed", committed.Load(), len(p.txs))
		}
	}
	return nil
}

// verify reads what the chain says about every transaction of the phase: all
// must have been accepted, and what they did is counted from their responses.
func (p *phase) verify(ctx context.Context, l *ledger) error {
	txs := 0
	for h := p.from + 1; h <= p.to; h++ {
		results, err := l.results(ctx, h)
		if err != nil {
			return fmt.Errorf("results of height %d: %w", h, err)
		}
		for i, r := range results {
			if r.Code != 0 {
				return fmt.Errorf("transaction %d at height %d was refused with %s/%d: %s", i, h, r.Codespace, r.Code, r.Log)
			}
			ops, err := operations(r.Data)
			if err != nil {
				return fmt.Errorf("height %d: %w", h, err)
			}
			p.ops += ops
			p.gas += r.GasUsed
			txs++
		}
	}
	if txs != len(p.txs) {
		return fmt.Errorf("%d transactions in blocks where %d were sent", txs, len(p.txs))
	}
	for _, tx := range p.txs {
		p.bytes += len(tx)
	}
	return nil
}

// operations counts what a transaction did: each lease opened, each closed, or
// one transfer. A refused item is an error: the figures are of work done.
func operations(data []byte) (int, error) {
	var all sdk.TxMsgData
	if err := proto.Unmarshal(data, &all); err != nil {
		return 0, err
	}
	n := 0
	for _, response := range all.MsgResponses {
		switch response.TypeUrl {
		case "/" + proto.MessageName(&marketv1.MsgOpenLeasesResponse{}):
			var r marketv1.MsgOpenLeasesResponse
			if err := proto.Unmarshal(response.Value, &r); err != nil {
				return 0, err
			}
			for i, result := range r.Results {
				if len(result.LeaseId) == 0 {
					return 0, fmt.Errorf("lease %d was not opened: %v", i, result.Refusals)
				}
				n++
			}
		case "/" + proto.MessageName(&marketv1.MsgCloseLeasesResponse{}):
			var r marketv1.MsgCloseLeasesResponse
			if err := proto.Unmarshal(response.Value, &r); err != nil {
				return 0, err
			}
			for i, result := range r.Results {
				if result.State != marketv1.LeaseState_LEASE_STATE_CLOSED {
					return 0, fmt.Errorf("lease %d is %s after its close: %v", i, result.State, result.Refusal)
				}
				n++
			}
		default:
			n++
		}
	}
	return n, nil
}

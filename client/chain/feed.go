package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	feedRing       = 64              // blocks kept in memory for followers that lag a little
	feedStale      = 3 * time.Second // without a block for so long, ask whether events were lost
	feedBackoffMin = 50 * time.Millisecond
	feedBackoffMax = 2 * time.Second
)

var errStale = errors.New("no block for a while")

// feed keeps one websocket subscription alive and turns it into a gap-free
// series of blocks. Followers pull from it, so a slow one neither blocks the
// others nor loses anything: what has left the ring is read over RPC.
type feed struct {
	c      *Client
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	ring   [feedRing]*Block
	head   int64         // last height delivered
	time   time.Time     // its block time
	moved  chan struct{} // closed and replaced when head moves
	closed bool
}

func newFeed(c *Client, head int64, at time.Time) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{c: c, cancel: cancel, done: make(chan struct{}), head: head, time: at, moved: make(chan struct{})}
	go f.run(ctx)
	return f
}

func (f *feed) close() {
	f.cancel()
	<-f.done
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.moved)
	}
}

func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	backoff := feedBackoffMin
	for ctx.Err() == nil {
		before := f.height()
		// Every cause is cured the same way: connect again, fill the gap. Calls must
		// not go on over connections to a node that is no more.
		_ = f.session(ctx)
		f.c.http.CloseIdleConnections()
		if f.height() > before {
			backoff = feedBackoffMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff + rand.N(backoff/2)):
		}
		backoff = min(2*backoff, feedBackoffMax)
	}
}

// session is one connection's life.
func (f *feed) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, err := subscribe(ctx, f.c.rpcURL)
	if err != nil {
		return err
	}
	defer sub.close()
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.failed:
			return sub.err
		case b := <-sub.blocks:
			if err := f.accept(ctx, b); err != nil {
				return err
			}
		case <-time.After(feedStale):
			// A node that crashes between commit and publication never publishes that
			// block. If there is no new one either, this connection may be dead.
			before := f.height()
			if err := f.catchUp(ctx); err != nil {
				return err
			}
			if f.height() == before {
				return errStale
			}
		}
	}
}

// accept delivers b after everything between the head and b.
func (f *feed) accept(ctx context.Context, b *Block) error {
	for h := f.height() + 1; h < b.Height; h++ {
		missed, err := f.c.Block(ctx, h)
		if err != nil {
			return fmt.Errorf("fill height %d: %w", h, err)
		}
		f.deliver(missed)
	}
	if b.Height > f.height() {
		f.deliver(b)
	}
	return nil
}

func (f *feed) catchUp(ctx context.Context) error {
	top, err := f.c.committed(ctx)
	if err != nil {
		return err
	}
	for h := f.height() + 1; h <= top; h++ {
		b, err := f.c.Block(ctx, h)
		if err != nil {
			return fmt.Errorf("fill height %d: %w", h, err)
		}
		f.deliver(b)
	}
	return nil
}

func (f *feed) deliver(b *Block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring[b.Height%feedRing] = b
	f.head, f.time = b.Height, b.Time
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *feed) height() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// wait returns once another block is there.
func (f *feed) wait(ctx context.Context) error {
	_, moved, err := f.at(f.height() + 1)
	if err != nil || moved == nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-moved:
		return nil
	}
}

// txCount makes transaction timeouts unique within the process; its random
// start keeps two processes of one account apart.
var txCount atomic.Uint64

func init() { txCount.Store(rand.Uint64()) }

// expiry is the timeout of a new transaction. It counts from the chain's own
// last block, because that is the clock it is judged by: a halted chain or a
// wrong clock here would otherwise make it unacceptable. The timeout is also
// the transaction's nonce, so its low bits are a counter.
func (f *feed) expiry() time.Time {
	f.mu.Lock()
	at := f.time
	f.mu.Unlock()
	const low = 1<<20 - 1 // about a millisecond
	ns := uint64(at.Add(txLife).UnixNano())
	return time.Unix(0, int64(ns&^low|txCount.Add(1)&low)).UTC()
}

// at returns the block of a height: from memory, nil if it must be read over
// RPC, or a channel that closes once the chain has moved.
func (f *feed) at(height int64) (b *Block, wait <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if height > f.head {
		if f.closed {
			return nil, nil, ErrClosed
		}
		return nil, f.moved, nil
	}
	if b := f.ring[height%feedRing]; b != nil && b.Height == height {
		return b, nil, nil
	}
	return nil, nil, nil
}

// Follower reads the chain block by block, without a gap, at its own pace. It
// belongs to one goroutine.
type Follower struct {
	c    *Client
	next int64
}

// Follow starts at height from, or at the next block to be committed if from is
// 0. A role that handled everything up to height h passes h+1.
func (c *Client) Follow(from int64) *Follower {
	if from <= 0 {
		from = c.feed.height() + 1
	}
	return &Follower{c: c, next: from}
}

// Next returns the next block, waiting for it if need be. It waits through
// disconnections and restarts of the node; only ctx, Close (ErrClosed) or a
// node that has pruned the block (ErrPruned) end it.
func (f *Follower) Next(ctx context.Context) (*Block, error) {
	backoff := feedBackoffMin
	for {
		b, wait, err := f.c.feed.at(f.next)
		switch {
		case err != nil:
			return nil, err
		case wait != nil:
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-wait:
				continue
			}
		case b == nil:
			b, err = f.c.Block(ctx, f.next)
			if errors.Is(err, ErrPruned) || ctx.Err() != nil {
				return nil, err
			}
			if err != nil {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(backoff):
				}
				backoff = min(2*backoff, feedBackoffMax)
				continue
			}
		}
		f.next++
		return b, nil
	}
}

// pump passes blocks on until ctx or the feed ends.
func (f *Follower) pump(ctx context.Context, to chan<- *Block) error {
	for {
		b, err := f.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case to <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// now follows the local clock while the chain keeps up with it, and the chain
// otherwise: what expires is judged by block time.
func (f *feed) now() time.Time {
	const usual = 10 * time.Second // more than blocks are apart
	f.mu.Lock()
	block := f.time
	f.mu.Unlock()
	local := time.Now()
	if d := local.Sub(block); d < 0 || d > usual {
		return block
	}
	return local
}

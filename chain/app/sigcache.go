package app

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
)

// sigCacheSize bounds each generation of the cache; two are kept.
const sigCacheSize = 1 << 15

// sigCache remembers which transactions this node verified in CheckTx, so that
// the block does not verify them again: signature checking is what bounds the
// chain's throughput. It is a node's memory of its own work and cannot change
// the result of a block: a hit means that these bytes, for these account
// numbers, on this chain, did verify here; everything else about them
// (sequence, fee, time) is judged again.
type sigCache struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]struct{}
}

func newSigCache() *sigCache {
	return &sigCache{young: make(map[[sha256.Size]byte]struct{}), old: nil}
}

func (c *sigCache) add(key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= sigCacheSize {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]struct{}, sigCacheSize)
	}
	c.young[key] = struct{}{}
}

func (c *sigCache) has(key [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, young := c.young[key]
	_, old := c.old[key]
	return young || old
}

// sigCacheDecorator stands right before signature verification, after public
// keys were set and checked against their addresses.
type sigCacheDecorator struct {
	accounts ante.AccountKeeper
	cache    *sigCache
}

// AnteHandle implements sdk.AnteDecorator.
func (d sigCacheDecorator) AnteHandle(ctx sdk.Context, tx sdk.Tx, simulate bool, next sdk.AnteHandler) (sdk.Context, error) {
	if simulate || ctx.IsReCheckTx() || len(ctx.TxBytes()) == 0 {
		return next(ctx, tx, simulate)
	}
	key, err := d.key(ctx, tx)
	if err != nil {
		return ctx, err
	}
	if !ctx.IsCheckTx() {
		if d.cache.has(key) {
			ctx = ctx.WithIsSigverifyTx(false)
		}
		newCtx, err := next(ctx, tx, simulate)
		return newCtx.WithIsSigverifyTx(true), err
	}
	newCtx, err := next(ctx, tx, simulate)
	if err == nil {
		d.cache.add(key)
	}
	return newCtx, err
}

// key is all that a signature's validity depends on: the exact bytes, which
// hold sequence, keys and body, and each signer's account number. The chain id
// is one per process; a key may not change once an account has one.
func (d sigCacheDecorator) key(ctx sdk.Context, tx sdk.Tx) ([sha256.Size]byte, error) {
	var key [sha256.Size]byte
	sigTx, ok := tx.(authsigning.SigVerifiableTx)
	if !ok {
		return key, nil // refused by the decorators that follow
	}
	signers, err := sigTx.GetSigners()
	if err != nil {
		return key, err
	}
	h := sha256.New()
	h.Write(ctx.TxBytes())
	var number [8]byte
	for _, signer := range signers {
		account, err := ante.GetSignerAcc(ctx, d.accounts, signer)
		if err != nil {
			return key, err
		}
		binary.BigEndian.PutUint64(number[:], account.GetAccountNumber())
		h.Write(number[:])
	}
	h.Sum(key[:0])
	return key, nil
}

package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/wire"
)

const (
	maxTracked = 8192 // peers, accounts and orders remembered, each

	// maxVariants is how many different announcements of one order pass. The
	// order's payer does not sign the tenant's addresses, so somebody could
	// announce it first with addresses that lead nowhere; the tenant's own must
	// still get through, and a flood of variants must not.
	maxVariants = 3

	// fundsTimeout bounds one question to the FundsChecker.
	fundsTimeout = 3 * time.Second
	// refusedTTL is how long "no funds" is believed: short, because a tenant who
	// has just been paid should not have to wait.
	refusedTTL = time.Second
)

// Reasons to ignore: the sender may be honest.
var (
	errRate         = errors.New("rate limit")
	errExpired      = errors.New("order has expired")
	errVariants     = errors.New("order was announced often enough")
	errFunds        = errors.New("payer holds no funds")
	errUnknownFunds = errors.New("payer's funds are unknown")
)

type validator struct {
	host     *p2p.Host
	cfg      Config
	peers    *limit.Limiter[peer.ID]
	accounts *limit.Limiter[string]
	funds    *fundsCache

	mu       sync.Mutex
	variants *limit.Table[[32]byte, [][32]byte] // by order: hashes of its announcements
}

func newValidator(h *p2p.Host, cfg Config) *validator {
	return &validator{
		host: h, cfg: cfg,
		peers:    limit.New[peer.ID](cfg.PeerRate, maxTracked, cfg.Now),
		accounts: limit.New[string](cfg.AccountRate, maxTracked, cfg.Now),
		funds:    newFundsCache(cfg.Funds, cfg.FundsTTL, cfg.Now),
		variants: limit.NewTable[[32]byte, [][32]byte](maxTracked),
	}
}

// validate is gossipsub's validator: it runs on its own goroutine per message.
func (v *validator) validate(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == v.host.ID() {
		return pubsub.ValidationAccept // judged already: see relay
	}
	order, err := v.check(ctx, from, m.GetData())
	switch {
	case err == nil:
		m.ValidatorData = order
		return pubsub.ValidationAccept
	case ignorable(err):
		v.cfg.Logger.Debug("ignored order", "peer", from, "why", err)
		return pubsub.ValidationIgnore
	}
	// An honest peer does not forward what it rejects: the sender is to blame.
	v.host.Strike(from, err)
	return pubsub.ValidationReject
}

func ignorable(err error) bool {
	for _, reason := range []error{errRate, errExpired, errVariants, errFunds, errUnknownFunds, p2p.ErrAccessExpired, wire.ErrWrongChain} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// check goes from cheap to dear: nothing is decoded for a peer beyond its rate,
// no signature verified for an order that is over, and the chain is asked last.
func (v *validator) check(ctx context.Context, from peer.ID, data []byte) (Order, error) {
	if !v.peers.Allow(from) {
		return Order{}, errRate
	}
	a, err := p2p.DecodeAnnounce(data)
	if err != nil {
		return Order{}, err
	}
	return v.judge(ctx, a)
}

func (v *validator) judge(ctx context.Context, a *p2p.Announce) (Order, error) {
	order, err := wire.Open[wire.Order](v.cfg.ChainID, a.Order)
	if err != nil {
		return Order{}, err
	}
	now := v.cfg.Now()
	if now.UnixMilli() >= order.Value.Terms.ExpiresAt {
		return Order{}, errExpired
	}
	if err := wire.VerifyOrder(order); err != nil {
		return Order{}, err
	}
	err = p2p.VerifyAccess(v.cfg.ChainID, a.Access, order.Digest, order.Value.Terms.ReceiptKey, peer.ID(a.Peer), now)
	if err != nil {
		return Order{}, err
	}
	// From here on the payer is proven, and may be held to its own limits.
	if err := v.admit(order, a); err != nil {
		return Order{}, err
	}
	if err := v.funds.check(ctx, order.Value.Payer); err != nil {
		return Order{}, err
	}
	return Order{Signed: order, Announce: a}, nil
}

// admit charges the payer for the order's first announcement only: others may
// repeat it, and must not be able to use up the payer's rate by doing so. What was
// admitted once is admitted again, since a push and a relayed copy of the same
// announcement may be judged at once and only the second be taken by pubsub; that
// it is delivered once is pubsub's work.
func (v *validator) admit(order wire.Signed[wire.Order], a *p2p.Announce) error {
	data, err := a.Encode()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(data)
	v.mu.Lock()
	defer v.mu.Unlock()
	seen, _ := v.variants.Get(order.Digest)
	switch {
	case slices.Contains(seen, hash):
		return nil
	case len(seen) >= maxVariants:
		return errVariants
	case len(seen) == 0 && !v.accounts.Allow(string(order.Value.Payer)):
		return errRate
	}
	v.variants.Put(order.Digest, append(seen, hash))
	return nil
}

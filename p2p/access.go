package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/wire"
)

// Why VerifyAccess refuses. Everything wraps ErrNoAccess; what was good once wraps
// ErrAccessExpired too.
var (
	ErrNoAccess      = errors.New("peer may not speak for this order")
	ErrAccessExpired = errors.New("access expired")
)

// VerifyAccess checks that remote may speak for an order: that signed is a
// wire.Access of this chain, made by the order's receipt key, for this order and
// this peer, and not expired at now. Errors wrap ErrNoAccess.
func VerifyAccess(chainID string, signed []byte, order [32]byte, receiptKey []byte, remote peer.ID, now time.Time) error {
	access, err := wire.Open[wire.Access](chainID, signed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAccess, err)
	}
	switch {
	case !bytes.Equal(access.Value.OrderHash, order[:]):
		return fmt.Errorf("%w: access is for another order", ErrNoAccess)
	case !bytes.Equal(access.Value.Peer, []byte(remote)):
		return fmt.Errorf("%w: access names another peer than %s", ErrNoAccess, remote)
	case now.UnixMilli() >= access.Value.ExpiresAt:
		return fmt.Errorf("%w: %w at %s", ErrNoAccess, ErrAccessExpired, time.UnixMilli(access.Value.ExpiresAt).UTC().Format(time.RFC3339))
	}
	if err := access.VerifyBy(receiptKey); err != nil {
		return fmt.Errorf("%w: %w", ErrNoAccess, err)
	}
	return nil
}

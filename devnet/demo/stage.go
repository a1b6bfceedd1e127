package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/audit"
)

// settleTime is how long after the job's end the last lease may take to close:
// a tenant closes by itself after ten seconds.
const settleTime = 30 * time.Second

// stage is a network that is up, and what everybody owned when it came up.
type stage struct {
	net    *devnet.Network
	before *audit.Books
	from   int64 // the first height that counts
}

// raise brings a network up in an empty folder.
func raise(ctx context.Context, dir, binary string, providers []devnet.ProviderSpec, log *slog.Logger) (*stage, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear the last demo: %w", err)
	}
	n, err := devnet.Start(ctx, devnet.Config{Dir: dir, Profile: devnet.Dev, Providers: providers, Binary: binary, Logger: log})
	if err != nil {
		return nil, err
	}
	s := &stage{net: n}
	if s.before, err = audit.Open(ctx, n.Chain()); err == nil {
		s.from, err = n.Chain().Height(ctx)
		s.from++
	}
	if err != nil {
		n.Stop()
		return nil, err
	}
	return s, nil
}

// bill waits until every lease since the beginning is settled, and accounts for
// the money.
func (s *stage) bill(ctx context.Context) (*Bill, error) {
	a, err := s.settled(ctx)
	if err != nil {
		return nil, err
	}
	after, err := audit.Open(ctx, s.net.Chain())
	if err != nil {
		return nil, err
	}
	return newBill(s.net, a, s.before, after), nil
}

// settled waits until every lease opened since the beginning is closed on the
// chain, and returns what happened since.
func (s *stage) settled(ctx context.Context) (*audit.Audit, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	c := s.net.Chain()
	for {
		leases, err := c.Leases(ctx, chain.LeaseFilter{Payer: s.net.Tenant})
		if err != nil {
			return nil, err
		}
		open := 0
		for i := range leases {
			if leases[i].State != marketv1.LeaseState_LEASE_STATE_CLOSED {
				open++
			}
		}
		if open == 0 && len(leases) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			if len(leases) == 0 {
				return nil, errors.New("the chain shows no lease of this job")
			}
			return nil, fmt.Errorf("%d of %d leases were not settled within %s", open, len(leases), settleTime)
		case <-time.After(100 * time.Millisecond):
		}
	}
	to, err := c.Height(ctx)
	if err != nil {
		return nil, err
	}
	return audit.Read(ctx, c, s.from, to)
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
)

// logPatience is how long a provider may be out of reach while its logs are read.
const logPatience = 10 * time.Second

// Logs gives the logs of a lease, or of all leases of a job, as EventLog: what
// there is, and with follow what comes until the work ends. It only watches: the
// job may be attended to by another process or by none. ErrResultGone if a
// provider has deleted them.
func (c *Client) Logs(ctx context.Context, name string, follow bool, events func(Event)) error {
	job, leaseID, err := c.journal.Find(ctx, name)
	if err != nil {
		if _, err = c.find(ctx, name); err == nil {
			err = fmt.Errorf("%w: %q", ErrUnknownLease, name)
		}
		return err
	}
	if err := c.Connect(); err != nil {
		return err
	}
	rows, err := c.journal.Leases(ctx, job)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	emit := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		e.Time = time.Now()
		events(e)
	}
	g, ctx := errgroup.WithContext(ctx)
	found := false
	for _, row := range rows {
		if row.LeaseID == nil || (leaseID != nil && string(row.LeaseID) != string(leaseID)) {
			continue
		}
		found = true
		g.Go(func() error { return c.followLogs(ctx, row, follow, emit) })
	}
	if !found {
		return fmt.Errorf("%w: %q has no lease yet", ErrUnknownLease, name)
	}
	return g.Wait()
}

// followLogs reads one lease's logs, over as many streams as it takes.
func (c *Client) followLogs(ctx context.Context, row journal.Lease, follow bool, emit func(Event)) error {
	o, err := c.reopenOrder(row)
	if err != nil {
		return err
	}
	id, err := p2p.PeerIDFromNode(row.Node)
	if err != nil {
		return err
	}
	info, err := p2p.ParseAddrInfo(id, row.Addrs)
	if err != nil {
		info = peer.AddrInfo{ID: id}
	}
	mode := p2p.LogSnapshot
	if follow {
		mode = p2p.LogFollow
	}
	log, heard := newLogPositions(), time.Now()
	for {
		hello := p2p.Hello{LeaseID: row.LeaseID, Access: o.access, Logs: mode, LogFrom: log.offsets(), Observer: true}
		err := c.readLogs(ctx, info, hello, func(m *p2p.Log) {
			heard = time.Now()
			if data := log.take(m); len(data) > 0 {
				emit(Event{Kind: EventLog, Lease: leaseName(row.LeaseID), Moniker: row.Moniker, Task: m.Task, Stream: int(m.Stream), Data: data})
			}
		})
		switch {
		case err == nil, errors.Is(err, ErrResultGone):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(heard) > logPatience:
			return fmt.Errorf("logs of %s from %s: %w", leaseName(row.LeaseID), row.Moniker, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(streamBackoffMax / 4):
		}
	}
}

// readLogs reads one stream to its orderly end (nil), or says why it broke.
func (c *Client) readLogs(ctx context.Context, info peer.AddrInfo, hello p2p.Hello, take func(*p2p.Log)) error {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := c.host.OpenLeaseStream(dial, c.located(info), hello)
	if err != nil {
		return err
	}
	defer s.Reset()
	for {
		m, err := s.RecvContext(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *p2p.Log:
			take(m)
		case *p2p.End:
			return nil
		case *p2p.Refused:
			return fmt.Errorf("%w: %s", ErrResultGone, m.Refusal.String())
		}
	}
}

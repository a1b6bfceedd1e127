package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

const baseDenom = chain.BaseDenom

// Account shows the tenant's address and money.
func (c *Client) Account(ctx context.Context) (*Account, error) {
	if c.keyErr != nil {
		return nil, c.keyErr
	}
	a := &Account{Address: c.sender.Address(), Key: c.sender.Signer().Name}
	var err error
	if a.Balances, err = c.chain.Balances(ctx, a.Address); err != nil {
		return nil, err
	}
	holds, err := c.chain.Holds(ctx, a.Address)
	if err != nil {
		return nil, err
	}
	var locked sdk.Coins
	for _, h := range holds {
		locked = locked.Add(h.Locked...)
	}
	a.Locked, err = coins(locked)
	return a, err
}

func coins(from sdk.Coins) ([]amount.Coin, error) {
	out := make([]amount.Coin, 0, len(from))
	for _, coin := range from {
		a, err := amount.Parse(coin.Amount.String())
		if err != nil {
			return nil, fmt.Errorf("amount of %s: %w", coin.Denom, err)
		}
		out = append(out, amount.Coin{Denom: coin.Denom, Amount: a})
	}
	return out, nil
}

// Providers lists registered operators with their live machines, by address.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	operators, err := c.chain.Providers(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := c.chain.Nodes(ctx, "", true)
	if err != nil {
		return nil, err
	}
	out := make([]Provider, 0, len(operators))
	for _, o := range operators {
		earned, err := coins(o.Earned)
		if err != nil {
			return nil, err
		}
		p := Provider{
			Operator: o.Operator, Moniker: o.Moniker, Contact: o.Contact, Bond: o.Bond, Locked: o.Locked, Leaving: o.Leaving,
			LeasesClosed: o.LeasesClosed, SecondsServed: o.SecondsServed, Earned: earned,
		}
		for _, n := range nodes {
			if n.Operator != o.Operator {
				continue
			}
			node := Node{Node: hex.EncodeToString(n.Node), Addresses: n.Addresses, Region: n.Region, Attributes: map[string]string{}}
			for _, a := range n.Attributes {
				node.Attributes[a.Key] = strings.TrimPrefix(node.Attributes[a.Key]+","+a.Value, ",") // a key may have several
			}
			p.Nodes = append(p.Nodes, node)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Provider) int { return strings.Compare(a.Operator, b.Operator) })
	return out, nil
}

// Leases lists this home's leases and the account's leases on chain, newest
// first; all includes those that are closed.
func (c *Client) Leases(ctx context.Context, all bool) ([]LeaseReport, error) {
	rows, err := c.journal.Leases(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []LeaseReport
	ours := map[string]bool{}
	for _, row := range rows {
		if row.LeaseID == nil {
			continue
		}
		ours[string(row.LeaseID)] = true
		if !all && row.State == journal.StateClosed {
			continue
		}
		report, err := c.report(ctx, row)
		if err != nil {
			return nil, err
		}
		out = append(out, *report)
	}
	if c.keyErr != nil {
		return out, nil //nolint:nilerr // without a key the journal is all there is to tell
	}
	onChain, err := c.chain.Leases(ctx, chain.LeaseFilter{Payer: c.sender.Address()})
	if err != nil {
		return nil, err
	}
	for i := range onChain {
		l := &onChain[i]
		if !ours[string(l.Id)] && (all || l.State != marketv1.LeaseState_LEASE_STATE_CLOSED) {
			out = append(out, *leaseOnChain(l))
		}
	}
	return out, nil
}

// Lease shows one lease, ours or not, named by its id or, if it is ours, by an
// unambiguous beginning of it. ErrUnknownLease if there is none.
func (c *Client) Lease(ctx context.Context, id string) (*LeaseReport, error) {
	_, leaseID, err := c.journal.Find(ctx, id)
	switch {
	case err == nil && leaseID != nil:
		row, err := c.journal.LeaseByID(ctx, leaseID)
		if err != nil {
			return nil, err
		}
		return c.report(ctx, row)
	case errors.Is(err, journal.ErrAmbiguous):
		return nil, fmt.Errorf("%w: %q; give more digits", ErrAmbiguous, id)
	case err != nil && !errors.Is(err, journal.ErrNone):
		return nil, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(id))
	if err != nil || len(raw) != 20 {
		return nil, fmt.Errorf("%w: %q; a lease id has 40 hex digits, and only leases of this home may be shortened", ErrUnknownLease, id)
	}
	l, err := c.chain.Lease(ctx, raw)
	if errors.Is(err, chain.ErrNotFound) {
		return nil, fmt.Errorf("%w: %s; closed leases leave the chain after a while", ErrUnknownLease, id)
	}
	if err != nil {
		return nil, err
	}
	return leaseOnChain(l), nil
}

// report joins what the journal and the chain know of a lease of ours.
func (c *Client) report(ctx context.Context, row journal.Lease) (*LeaseReport, error) {
	l, err := c.chain.Lease(ctx, row.LeaseID)
	r := &LeaseReport{ID: leaseName(row.LeaseID), State: row.State.String(), Provider: row.Provider, Denom: baseDenom, Rate: row.Rate}
	switch {
	case err == nil:
		r = leaseOnChain(l)
	case errors.Is(err, chain.ErrNotFound):
		r.State = "pruned"
	default:
		return nil, err
	}
	r.Node, r.JobID, r.Moniker, r.OpenTx, r.OpenedAt, r.Ours = hex.EncodeToString(row.Node), journal.JobName(row.Job), row.Moniker, row.OpenTx, row.Opened, true
	r.Isolation = row.Isolation
	if signed, err := c.openReceipt(row.Receipt); err == nil && signed.Value.ElapsedMS > r.AckedMS {
		r.AckedMS = signed.Value.ElapsedMS
	}
	if job, err := c.loadJob(ctx, row.Job); err == nil {
		r.Module, r.Output = job.Module, job.Output
	}
	r.Tasks, err = c.tasksOn(ctx, row)
	return r, err
}

func leaseOnChain(l *marketv1.Lease) *LeaseReport {
	r := &LeaseReport{
		ID: leaseName(l.Id), JobID: journal.JobName(l.JobId), State: stateText(l.State), Provider: l.Provider, Node: hex.EncodeToString(l.Node),
		Denom: l.Denom, Rate: l.Rate, AckedMS: l.AckedMs, Hold: l.Hold,
	}
	if rate, err := amount.ParseRate(l.Rate); err == nil {
		r.Price = priceText(rate, l.Denom)
	}
	if l.State == marketv1.LeaseState_LEASE_STATE_CLOSED {
		r.CloseReason = lease.Reason(l.Reason).String()
	}
	r.settle(l.Settlement)
	return r
}

func (r *LeaseReport) settle(s *marketv1.Settlement) {
	if s == nil {
		return
	}
	r.Paid, r.Burned, r.Pool, r.Refunded, r.BilledMS = s.Provider, s.Burned, s.Pool, s.Refunded, s.BilledMs
}

func stateText(s marketv1.LeaseState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "LEASE_STATE_"))
}

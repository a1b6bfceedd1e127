package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// leaseIDLen is the length of a lease id in hex.
const leaseIDLen = 40

// leaseView is a lease as the chain knows it, amounts in base units as text.
type leaseView struct {
	ID         string          `json:"id"`
	State      string          `json:"state"`
	Payer      string          `json:"payer"`
	Provider   string          `json:"provider"`
	Node       string          `json:"node"`
	Slot       uint32          `json:"slot"`
	Generation uint64          `json:"generation"`
	Job        string          `json:"job"`
	Denom      string          `json:"denom"`
	Rate       string          `json:"rate"`
	Price      string          `json:"price"`
	Hold       string          `json:"hold"`
	Bounty     string          `json:"bounty"`
	Bond       string          `json:"bond"`
	TimeoutMS  uint64          `json:"timeout_ms"`
	Started    bool            `json:"started"`
	AckedMS    uint64          `json:"acked_ms"`
	OpenedAt   uint64          `json:"opened_at_ms"`
	DryAt      uint64          `json:"dry_at_ms"`
	WindowEnds uint64          `json:"window_ends_at_ms,omitempty"`
	ClosedAt   uint64          `json:"closed_at_ms,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Settlement *settlementView `json:"settlement,omitempty"`
}

type settlementView struct {
	BilledMS  uint64 `json:"billed_ms"`
	Gross     string `json:"gross"`
	Provider  string `json:"provider"`
	Burned    string `json:"burned"`
	Pool      string `json:"pool"`
	Refunded  string `json:"refunded"`
	Contester string `json:"contester"`
	Bounty    string `json:"bounty"`
	BountyTo  string `json:"bounty_to,omitempty"`
}

func (a *app) leaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "look at one agreement on the chain",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "show ID",
		Short: "show a lease as the chain knows it: terms, state and where the money went",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.showLease(ctx, given[0])
		},
	})
	return cmd
}

func (a *app) showLease(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := findLease(ctx, c, strings.ToLower(id))
	if err != nil {
		return err
	}
	v := viewLease(l)
	return a.print(v, func(w io.Writer) error { return printLease(w, v) })
}

// checkID accepts the id of a job or a lease, or the beginning of one.
func checkID(id string) error {
	if len(id) < 4 || len(id) > leaseIDLen || strings.Trim(strings.ToLower(id), "0123456789abcdef") != "" {
		return usagef("id %q: it is hexadecimal, and at least the first 4 digits of it are needed; `moyai ps` lists yours", id)
	}
	return nil
}

// checkRunning accepts what checkID does, with /INDEX for one task of an array job.
func checkRunning(name string) error {
	id, index, indexed := strings.Cut(name, "/")
	if _, err := strconv.ParseUint(index, 10, 64); indexed && err != nil {
		return usagef("lease %q: what follows the slash is the number of a task", name)
	}
	return checkID(id)
}

// findLease finds a lease by its id or by the beginning of one.
func findLease(ctx context.Context, c *chain.Client, id string) (*marketv1.Lease, error) {
	unknown := withHint(fmt.Errorf("%w: %s", errNoSuchLease, id), "closed leases are forgotten by the chain after a while; `moyai ps` lists yours")
	if len(id) == leaseIDLen {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return nil, usagef("lease id %q: %w", id, err)
		}
		l, err := c.Lease(ctx, raw)
		if errors.Is(err, chain.ErrNotFound) {
			return nil, unknown
		}
		return l, err
	}
	all, err := c.Leases(ctx, chain.LeaseFilter{})
	if err != nil {
		return nil, err
	}
	var found *marketv1.Lease
	for i := range all {
		if !strings.HasPrefix(hex.EncodeToString(all[i].Id), id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one lease begins with %s: give more digits", id)
		}
		found = &all[i]
	}
	if found == nil {
		return nil, unknown
	}
	return found, nil
}

func viewLease(l *marketv1.Lease) leaseView {
	v := leaseView{
		ID: hex.EncodeToString(l.Id), State: stateName(l.State), Payer: l.Payer, Provider: l.Provider,
		Node: hex.EncodeToString(l.Node), Slot: l.Slot, Generation: l.Generation, Job: hex.EncodeToString(l.JobId),
		Denom: l.Denom, Rate: l.Rate, Price: l.Rate, Hold: l.Hold, Bounty: l.Bounty, Bond: l.Bond,
		TimeoutMS: l.TimeoutMs, Started: l.Started, AckedMS: l.AckedMs, OpenedAt: l.OpenedAt, DryAt: l.DryAt,
		WindowEnds: l.WindowEndsAt, ClosedAt: l.ClosedAt,
	}
	if r, err := amount.ParseRate(l.Rate); err == nil {
		v.Price = amount.FormatRate(r, l.Denom)
	}
	if l.Reason != 0 {
		v.Reason = lease.Reason(l.Reason).String()
	}
	if s := l.Settlement; s != nil {
		v.Settlement = &settlementView{s.BilledMs, s.Gross, s.Provider, s.Burned, s.Pool, s.Refunded, s.Contester, s.Bounty, s.BountyTo}
	}
	return v
}

func stateName(s marketv1.LeaseState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "LEASE_STATE_"))
}

func printLease(w io.Writer, v leaseView) error {
	t := newTable(w, "lease", v.ID)
	t.row("state", v.State)
	t.row("payer", v.Payer)
	t.row("provider", v.Provider)
	t.row("machine", fmt.Sprintf("%s, slot %d, generation %d", v.Node, v.Slot, v.Generation))
	t.row("price", v.Price)
	t.row("longest", formatMS(v.TimeoutMS))
	t.row("locked at opening", formatUnits(v.Hold, v.Denom)+" and a bounty of "+formatUnits(v.Bounty, chain.BaseDenom))
	t.row("countersigned", formatMS(v.AckedMS))
	if v.Reason != "" {
		t.row("ended because", v.Reason)
	}
	if s := v.Settlement; s != nil {
		t.row("billed", formatMS(s.BilledMS)+" = "+formatUnits(s.Gross, v.Denom))
		t.row("to the provider", formatUnits(s.Provider, v.Denom))
		t.row("burned", formatUnits(s.Burned, v.Denom))
		t.row("to the fee pool", formatUnits(s.Pool, v.Denom))
		t.row("back to the payer", formatUnits(s.Refunded, v.Denom))
		if s.BountyTo != "" {
			t.row("bounty", formatUnits(s.Bounty, chain.BaseDenom)+" to "+s.BountyTo)
		}
	}
	return t.flush()
}

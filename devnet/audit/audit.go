// Package audit tells from the chain alone what happened between two heights:
// which leases were opened and closed by which transactions, where their money
// went, what was minted and burned, and whether anything was created or lost.
//
// It reads blocks, events and balances, and nothing that a tenant or a provider
// says about itself. It is not an indexer: it keeps nothing.
package audit

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// Audit is what happened in blocks From to To. Leases are in order of opening.
type Audit struct {
	From, To int64
	Leases   []*Lease
	Txs      int // accepted and refused
	Refused  int
	// Minted and Burned are those of the bank, of the base denomination: what
	// truly came into being and ceased to be.
	Minted, Burned amount.Amount
}

// Lease is one lease as events and transactions tell it. Amounts are in base
// units of Denom.
type Lease struct {
	ID       string // hex
	Payer    string
	Provider string
	Denom    string
	Rate     amount.Rate
	Hold     amount.Amount

	OpenedHeight int64
	ClosedHeight int64 // 0: not closed yet
	Reason       lease.Reason
	BilledMS     uint64
	Tasks        uint64 // the counter in the final receipt that closed it

	Gross, Paid, Burned, Pool, Refunded, Bounty amount.Amount
	BountyTo                                    string

	Txs []Tx // those that moved it, in order
}

// Tx is one transaction.
type Tx struct {
	Hash   string
	Height int64
	Bytes  int
	Gas    int64
	// Leases is how many leases the transaction moved: a batch is shared.
	Leases int
}

// Closed tells whether the lease is settled.
func (l *Lease) Closed() bool { return l.ClosedHeight != 0 }

// Read scans the blocks from height from to height to, both included.
func Read(ctx context.Context, c *chain.Client, from, to int64) (*Audit, error) {
	r := reader{chainID: c.ChainID(), audit: &Audit{From: from, To: to}, byID: map[string]*Lease{}}
	if err := c.Scan(ctx, from, to, r.block); err != nil {
		return nil, fmt.Errorf("audit of heights %d to %d: %w", from, to, err)
	}
	return r.audit, nil
}

type reader struct {
	chainID string
	audit   *Audit
	byID    map[string]*Lease
}

func (r *reader) block(b *chain.Block) error {
	if err := r.bank(b.Events); err != nil {
		return err
	}
	for i := range b.Txs {
		tx := &b.Txs[i]
		r.audit.Txs++
		if !tx.OK() {
			r.audit.Refused++
		}
		// A refused transaction still pays its fee, which burns and mints nothing.
		if err := r.bank(tx.Events); err != nil {
			return err
		}
	}
	moved := map[string][]*Lease{} // by transaction
	for _, e := range b.Typed() {
		l, err := r.event(e)
		if err != nil {
			return err
		}
		if l != nil && e.TxHash != "" && !slices.Contains(moved[e.TxHash], l) {
			moved[e.TxHash] = append(moved[e.TxHash], l)
		}
	}
	for i := range b.Txs {
		tx := &b.Txs[i]
		for _, l := range moved[tx.Hash] {
			l.Txs = append(l.Txs, Tx{Hash: tx.Hash, Height: b.Height, Bytes: len(tx.Bytes), Gas: tx.GasUsed, Leases: len(moved[tx.Hash])})
		}
		if len(moved[tx.Hash]) > 0 {
			if err := r.receipts(tx.Bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// event applies one typed event and returns the lease it is about.
func (r *reader) event(e chain.Event) (*Lease, error) {
	switch m := e.Msg.(type) {
	case *marketv1.EventLeaseOpened:
		return r.opened(e.Height, m)
	case *marketv1.EventLeaseSettling:
		return r.byID[hex.EncodeToString(m.LeaseId)], nil
	case *marketv1.EventLeaseUpdated:
		return r.byID[hex.EncodeToString(m.LeaseId)], nil
	case *marketv1.EventLeaseClosed:
		return r.closed(e.Height, m)
	}
	return nil, nil
}

func (r *reader) opened(height int64, m *marketv1.EventLeaseOpened) (*Lease, error) {
	l := &Lease{ID: hex.EncodeToString(m.LeaseId), Payer: m.Payer, Provider: m.Provider, Denom: m.Denom, OpenedHeight: height}
	var err error
	if l.Rate, err = amount.ParseRate(m.Rate); err != nil {
		return nil, fmt.Errorf("lease %s: rate: %w", l.ID, err)
	}
	if l.Hold, err = amount.Parse(m.Hold); err != nil {
		return nil, fmt.Errorf("lease %s: hold: %w", l.ID, err)
	}
	r.byID[l.ID] = l
	r.audit.Leases = append(r.audit.Leases, l)
	return l, nil
}

func (r *reader) closed(height int64, m *marketv1.EventLeaseClosed) (*Lease, error) {
	l := r.byID[hex.EncodeToString(m.LeaseId)]
	if l == nil {
		return nil, nil // opened before the first height
	}
	l.ClosedHeight, l.Reason, l.BilledMS = height, lease.Reason(m.Reason), m.Settlement.BilledMs
	l.BountyTo = m.Settlement.BountyTo
	for _, f := range []struct {
		to   *amount.Amount
		text string
	}{
		{&l.Gross, m.Settlement.Gross}, {&l.Paid, m.Settlement.Provider}, {&l.Burned, m.Settlement.Burned},
		{&l.Pool, m.Settlement.Pool}, {&l.Refunded, m.Settlement.Refunded}, {&l.Bounty, m.Settlement.Bounty},
	} {
		if f.text == "" {
			continue
		}
		var err error
		if *f.to, err = amount.Parse(f.text); err != nil {
			return nil, fmt.Errorf("lease %s: settlement: %w", l.ID, err)
		}
	}
	return l, nil
}

// receipts reads the final receipts that a closing transaction carries: what
// the provider counted and the tenant signed.
func (r *reader) receipts(raw []byte) error {
	var tx txtypes.TxRaw
	var body txtypes.TxBody
	if err := tx.Unmarshal(raw); err != nil {
		return fmt.Errorf("decode transaction: %w", err)
	}
	if err := body.Unmarshal(tx.BodyBytes); err != nil {
		return fmt.Errorf("decode transaction: %w", err)
	}
	for _, any := range body.Messages {
		if any.TypeUrl != "/moyai.market.v1.MsgCloseLeases" {
			continue
		}
		var msg marketv1.MsgCloseLeases
		if err := msg.Unmarshal(any.Value); err != nil {
			return fmt.Errorf("decode MsgCloseLeases: %w", err)
		}
		for _, item := range msg.Items {
			r.receipt(item)
		}
	}
	return nil
}

func (r *reader) receipt(item marketv1.CloseItem) {
	l := r.byID[hex.EncodeToString(item.LeaseId)]
	if l == nil || item.Action != marketv1.CloseAction_CLOSE_ACTION_FINAL && item.Action != marketv1.CloseAction_CLOSE_ACTION_RECEIPT {
		return
	}
	receipt, err := wire.Open[wire.Receipt](r.chainID, item.Proof)
	if err != nil {
		return // refused by the chain as well
	}
	for _, c := range receipt.Value.Counters {
		if c.Dimension == "tasks" {
			l.Tasks = c.Amount
		}
	}
}

// bank adds up what the bank module minted and burned.
func (r *reader) bank(events []abci.Event) error {
	for _, e := range events {
		var to *amount.Amount
		switch e.Type {
		case "coinbase":
			to = &r.audit.Minted
		case "burn":
			to = &r.audit.Burned
		default:
			continue
		}
		for _, at := range e.Attributes {
			if at.Key != sdk.AttributeKeyAmount {
				continue
			}
			if err := addBase(to, at.Value); err != nil {
				return fmt.Errorf("%s event: %w", e.Type, err)
			}
		}
	}
	return nil
}

// addBase adds the base denomination's part of a list of coins.
func addBase(to *amount.Amount, list string) error {
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		coin, err := sdk.ParseCoinNormalized(text)
		if err != nil {
			return err
		}
		if coin.Denom != chain.BaseDenom {
			continue
		}
		a, err := amount.Parse(coin.Amount.String())
		if err != nil {
			return err
		}
		if *to, err = to.Add(a); err != nil {
			return err
		}
	}
	return nil
}

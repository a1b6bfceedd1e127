package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/audit"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// Bill is where the money went, as data. Amounts are base units (umoy); every one
// of them, and every count, comes from the chain.
type Bill struct {
	Chain   string        `json:"chain"` // address of the RPC while the demo runs
	ChainID string        `json:"chain_id"`
	Leases  []LeaseReport `json:"leases"`

	SupplyBefore json.Number `json:"supply_before"`
	SupplyAfter  json.Number `json:"supply_after"`
	Minted       json.Number `json:"minted"`
	Burned       json.Number `json:"burned"`
	Conserved    bool        `json:"conserved"`
	// NotConserved says what does not add up, if it does not.
	NotConserved string          `json:"not_conserved,omitempty"`
	Balances     []BalanceReport `json:"balances"`

	TxsPerLease   float64 `json:"txs_per_lease"`
	BytesPerLease float64 `json:"bytes_per_lease"`
}

// LeaseReport is one lease.
type LeaseReport struct {
	ID           string      `json:"id"`
	Provider     string      `json:"provider"` // address
	Name         string      `json:"name"`
	Price        string      `json:"price"`
	Seconds      json.Number `json:"seconds"`
	Tasks        uint64      `json:"tasks"`
	Paid         json.Number `json:"paid"`
	Refunded     json.Number `json:"refunded"`
	Burned       json.Number `json:"burned"`
	Pool         json.Number `json:"pool"`
	CloseReason  string      `json:"close_reason"`
	Transactions []string    `json:"transactions"`
	Bytes        int         `json:"bytes"`
	Gas          int64       `json:"gas"`
}

// BalanceReport is what one account owned before and after.
type BalanceReport struct {
	Name    string      `json:"name"`
	Address string      `json:"address"`
	Before  json.Number `json:"before"`
	After   json.Number `json:"after"`
}

func newBill(n *devnet.Network, a *audit.Audit, before, after *audit.Books) *Bill {
	b := &Bill{
		Chain: n.RPC, ChainID: n.ChainID, Leases: []LeaseReport{},
		SupplyBefore: number(before.Supply), SupplyAfter: number(after.Supply),
		Minted: number(a.Minted), Burned: number(a.Burned), Conserved: true,
	}
	if err := audit.Conserved(before, after, a.Minted, a.Burned); err != nil {
		b.Conserved, b.NotConserved = false, err.Error()
	}
	names := map[string]string{n.Tenant: "tenant"}
	b.balance("tenant", n.Tenant, before, after)
	for _, p := range n.Providers {
		names[p.Address] = p.Name
		b.balance(p.Name, p.Address, before, after)
	}
	txs, bytes := 0.0, 0.0
	for _, l := range a.Leases {
		v := LeaseReport{
			ID: l.ID, Provider: l.Provider, Name: names[l.Provider], Price: amount.FormatRate(l.Rate, l.Denom),
			Seconds: json.Number(fmt.Sprintf("%d.%03d", l.BilledMS/1000, l.BilledMS%1000)), Tasks: l.Tasks,
			Paid: number(l.Paid), Refunded: number(l.Refunded), Burned: number(l.Burned), Pool: number(l.Pool),
			CloseReason: l.Reason.String(), Transactions: []string{},
		}
		for _, tx := range l.Txs {
			v.Transactions = append(v.Transactions, tx.Hash)
			v.Bytes += tx.Bytes / tx.Leases
			v.Gas += tx.Gas / int64(tx.Leases)
			txs += 1 / float64(tx.Leases)
			bytes += float64(tx.Bytes) / float64(tx.Leases)
		}
		b.Leases = append(b.Leases, v)
	}
	if k := float64(len(b.Leases)); k > 0 {
		b.TxsPerLease, b.BytesPerLease = txs/k, bytes/k
	}
	return b
}

func (b *Bill) balance(name, address string, before, after *audit.Books) {
	b.Balances = append(b.Balances, BalanceReport{name, address, number(before.Of(address)), number(after.Of(address))})
}

func number(a amount.Amount) json.Number { return json.Number(a.String()) }

// write shows the bill as a table; tasks are counted in what.
func (b *Bill) write(w io.Writer, what string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("LEASE", "PROVIDER", "PRICE", "SECONDS", what, "PAID", "REFUNDED", "BURNED", "ENDED", "TXS")
	for _, l := range b.Leases {
		line(l.ID[:10], l.Name, l.Price, l.Seconds.String(), fmt.Sprint(l.Tasks), moy(l.Paid), moy(l.Refunded), moy(l.Burned),
			l.CloseReason, fmt.Sprint(len(l.Transactions)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	line("ACCOUNT", "BEFORE", "AFTER", "CHANGE")
	for _, a := range b.Balances {
		line(a.Name, moy(a.Before), moy(a.After), change(a.Before, a.After))
	}
	line("all accounts", moy(b.SupplyBefore), moy(b.SupplyAfter), change(b.SupplyBefore, b.SupplyAfter))
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "nothing was created or lost: the sum over all accounts is the supply, and it moved by what was minted and burned"
	if !b.Conserved {
		verdict = "IT DOES NOT ADD UP: " + b.NotConserved
	}
	fmt.Fprintf(w, "\nminted %s, burned %s; %s\n", moy(b.Minted), moy(b.Burned), verdict)
	_, err := fmt.Fprintf(w, "%.1f transactions and %.0f bytes per lease\n", b.TxsPerLease, b.BytesPerLease)
	return err
}

func moy(n json.Number) string {
	a, err := amount.Parse(n.String())
	if err != nil {
		return n.String()
	}
	return amount.FormatAmount(a, chain.BaseDenom)
}

// change is after − before with its sign.
func change(before, after json.Number) string {
	a, errA := amount.Parse(before.String())
	b, errB := amount.Parse(after.String())
	if errA != nil || errB != nil {
		return "?"
	}
	if d, err := b.Sub(a); err == nil {
		return "+" + amount.FormatAmount(d, chain.BaseDenom)
	}
	d, err := a.Sub(b)
	if err != nil {
		return "?"
	}
	return "-" + amount.FormatAmount(d, chain.BaseDenom)
}

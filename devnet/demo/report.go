package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/audit"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// Report is the outcome as data. Amounts are base units (umoy); every one of
// them, and every count, comes from the chain. Only OrderToOutputMS is measured
// at the tenant, who alone can see it.
type Report struct {
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

	Tiles           int     `json:"tiles"`
	TilesBack       int     `json:"tiles_back"`
	OrderToOutputMS int64   `json:"order_to_output_ms"`
	TxsPerLease     float64 `json:"txs_per_lease"`
	BytesPerLease   float64 `json:"bytes_per_lease"`
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

func newReport(n *devnet.Network, job *job, a *audit.Audit, before, after *audit.Books) *Report {
	r := &Report{
		Chain: n.RPC, ChainID: n.ChainID, Leases: []LeaseReport{},
		SupplyBefore: number(before.Supply), SupplyAfter: number(after.Supply),
		Minted: number(a.Minted), Burned: number(a.Burned), Conserved: true,
		Tiles: tileCount, TilesBack: job.done, OrderToOutputMS: job.firstOutput.Milliseconds(),
	}
	if err := audit.Conserved(before, after, a.Minted, a.Burned); err != nil {
		r.Conserved, r.NotConserved = false, err.Error()
	}
	names := map[string]string{n.Tenant: "tenant"}
	r.balance("tenant", n.Tenant, before, after)
	for _, p := range n.Providers {
		names[p.Address] = p.Name
		r.balance(p.Name, p.Address, before, after)
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
		r.Leases = append(r.Leases, v)
	}
	if k := float64(len(r.Leases)); k > 0 {
		r.TxsPerLease, r.BytesPerLease = txs/k, bytes/k
	}
	return r
}

func (r *Report) balance(name, address string, before, after *audit.Books) {
	r.Balances = append(r.Balances, BalanceReport{name, address, number(before.Of(address)), number(after.Of(address))})
}

func number(a amount.Amount) json.Number { return json.Number(a.String()) }

// Save writes the report as JSON, the whole file or none of it.
func (r *Report) Save(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(path+".new", path)
}

func (r *Report) write(w io.Writer, picture string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("LEASE", "PROVIDER", "PRICE", "SECONDS", "TILES", "PAID", "REFUNDED", "BURNED", "ENDED", "TXS")
	for _, l := range r.Leases {
		line(l.ID[:10], l.Name, l.Price, l.Seconds.String(), fmt.Sprint(l.Tasks), moy(l.Paid), moy(l.Refunded), moy(l.Burned),
			l.CloseReason, fmt.Sprint(len(l.Transactions)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	line("ACCOUNT", "BEFORE", "AFTER", "CHANGE")
	for _, b := range r.Balances {
		line(b.Name, moy(b.Before), moy(b.After), change(b.Before, b.After))
	}
	line("all accounts", moy(r.SupplyBefore), moy(r.SupplyAfter), change(r.SupplyBefore, r.SupplyAfter))
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "nothing was created or lost: the sum over all accounts is the supply, and it moved by what was minted and burned"
	if !r.Conserved {
		verdict = "IT DOES NOT ADD UP: " + r.NotConserved
	}
	fmt.Fprintf(w, "\nminted %s, burned %s; %s\n", moy(r.Minted), moy(r.Burned), verdict)
	fmt.Fprintf(w, "%.1f transactions and %.0f bytes per lease; first output %d ms after the order\n", r.TxsPerLease, r.BytesPerLease, r.OrderToOutputMS)
	_, err := fmt.Fprintf(w, `
the picture is %s

try next:
  moyai devnet --dir ./net                           keep a network running
  moyai quote --cpu 1 --memory 512Mi                 ask what a machine costs
  moyai run --max-price 0.05MOY/h prog.wasm          run your own program
  moyai provide --home ./p3 --price cpu=0.02MOY/h    earn with this machine
`, picture)
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

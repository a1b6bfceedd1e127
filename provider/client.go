package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
)

// Control speaks to a running daemon over its socket, on the same machine and as
// the same user only.
type Control struct{ path string }

// Dial names the daemon of a home. It does not connect yet.
func Dial(home string) *Control { return &Control{SocketPath(home)} }

// Status is what "moyai provide status" shows.
type Status struct {
	Moniker   string `json:"moniker"`
	Operator  string `json:"operator"` // bech32
	Node      string `json:"node"`     // hex
	ChainID   string `json:"chain_id"`
	Height    int64  `json:"height"`   // last block handled
	ChainSeen int64  `json:"chain_ms"` // its block time, unix ms
	Bidding   bool   `json:"bidding"`
	// NotBidding is why no order would get a bid now, as tenants are told.
	NotBidding *Silence      `json:"not_bidding,omitempty"`
	Addresses  []string      `json:"addresses"` // multiaddrs
	Reach      p2p.Reach     `json:"reach"`     // how strangers get here
	Members    int           `json:"members"`   // of the DHT, as far as known
	Capacity   []Use         `json:"capacity"`
	Slots      int           `json:"slots"` // in use, by bids or leases
	Leases     []LeaseStatus `json:"leases"`
	Totals     []Earned      `json:"totals"`
	Alerts     []Alert       `json:"alerts"`
}

// Silence is why nothing is bid.
type Silence struct {
	Cause Cause  `json:"cause"`
	Text  string `json:"text"`
}

// Cause tells silences apart.
type Cause string

// Causes.
const (
	CausePaused     Cause = "paused"     // its owner said so
	CauseOwner      Cause = "owner"      // outside the owner's schedule, or the owner uses the machine
	CauseMembership Cause = "membership" // not registered as it should be, or leaving
	CauseDisk       Cause = "disk"       // too little is free
	CauseChain      Cause = "chain"      // out of sight
)

// Use is one dimension of the capacity.
type Use struct {
	Dimension string `json:"dimension"`
	Total     uint64 `json:"total"`
	Free      uint64 `json:"free"`
}

// LeaseStatus is one lease: the live ones first, then the last that ended.
type LeaseStatus struct {
	ID        string `json:"id"` // hex
	Work      string `json:"work"`
	Chain     string `json:"chain"`
	Payer     string `json:"payer"` // bech32
	Rate      string `json:"rate"`  // 10⁻¹² base units per second
	Denom     string `json:"denom"`
	ElapsedMS uint64 `json:"elapsed_ms"`
	AckedMS   uint64 `json:"acked_ms"`
	Tasks     uint64 `json:"tasks"`
	Reason    string `json:"reason,omitempty"`
	Text      string `json:"text,omitempty"`
	EndsBy    int64  `json:"ends_by_ms,omitempty"` // unix ms: notice was given
	// Earned is what was paid, or what the counter would bring now (before the
	// network's take) while the lease is not closed.
	Earned amount.Amount `json:"earned"`
	Paid   bool          `json:"paid"`
}

// Earned are the sums over every closed lease of this home, in base units.
type Earned struct {
	Denom    string        `json:"denom"`
	Leases   uint64        `json:"leases"`
	BilledMS uint64        `json:"billed_ms"`
	Provider amount.Amount `json:"provider"`
}

// Alert is something the operator should act on. It stays until dismissed or
// until its cause is gone.
type Alert struct {
	ID       string `json:"id"`
	Severity string `json:"severity"` // "info" | "warning" | "error"
	Text     string `json:"text"`
	SinceMS  int64  `json:"since_ms"`
	Count    uint64 `json:"count"`
}

// Status asks for everything. ErrNotRunning if there is no daemon.
func (c *Control) Status(ctx context.Context) (*Status, error) {
	st := new(Status)
	return st, c.do(ctx, http.MethodGet, "/v1/status", st)
}

// Dismiss removes an alert.
func (c *Control) Dismiss(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/alerts/"+url.PathEscape(id), nil)
}

// Pause stops bidding; leases go on.
func (c *Control) Pause(ctx context.Context) error {
	return c.do(ctx, http.MethodPut, "/v1/bidding/off", nil)
}

// PauseAndEnd stops bidding and gives running leases the notice that was promised.
func (c *Control) PauseAndEnd(ctx context.Context) error {
	return c.do(ctx, http.MethodPut, "/v1/bidding/end", nil)
}

// Resume bids again and lifts notice.
func (c *Control) Resume(ctx context.Context) error {
	return c.do(ctx, http.MethodPut, "/v1/bidding/on", nil)
}

// Stop ends the work of one lease early (reason: provider stopped). The id is in
// hex.
func (c *Control) Stop(ctx context.Context, leaseID string) error {
	return c.do(ctx, http.MethodDelete, "/v1/leases/"+url.PathEscape(leaseID), nil)
}

// maxAnswer bounds what is believed of an answer.
const maxAnswer = 16 << 20

func (c *Control) do(ctx context.Context, method, path string, into any) error {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://provider"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return ErrNotRunning
		}
		return fmt.Errorf("ask the provider: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		if err := body.Decode(&refusal); err != nil || refusal.Error == "" {
			return fmt.Errorf("the provider answered %s", resp.Status)
		}
		return errors.New(refusal.Error)
	}
	if into == nil {
		return nil
	}
	return body.Decode(into)
}

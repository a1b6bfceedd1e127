package provider

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// recentLeases is how many ended leases a status shows.
const recentLeases = 50

// Status implements what Control.Status asks, from inside.
func (p *Provider) Status(ctx context.Context) (*Status, error) {
	tip := p.watcher.now()
	bid, leased := p.desk.slots.Use()
	st := &Status{
		Moniker: p.cfg.Moniker, Operator: p.operator, Node: hex.EncodeToString(p.desk.node), ChainID: p.desk.chainID,
		Height: tip.height, Bidding: true, Addresses: p.AddrStrings(), Slots: bid + leased,
		Reach: p.host.Reach(), Members: p.finder.Size(),
	}
	if cause, r := p.stall.silence(tip); cause != "" {
		text := r.String()
		if why := p.stall.owned.Load(); cause == CauseOwner && why != nil {
			text = *why // the owner may know what tenants need not
		}
		st.Bidding, st.NotBidding = false, &Silence{cause, text}
	}
	if !tip.time.IsZero() {
		st.ChainSeen = unixMS(tip.time)
	}
	free := p.desk.slots.Unbid()
	for dim, total := range p.stall.tariff.total {
		st.Capacity = append(st.Capacity, Use{Dimension: dim, Total: total, Free: free[dim]})
	}
	sort.Slice(st.Capacity, func(i, j int) bool { return st.Capacity[i].Dimension < st.Capacity[j].Dimension })
	if err := p.leaseStatus(ctx, st); err != nil {
		return nil, err
	}
	for _, t := range p.desk.journal.Totals() {
		st.Totals = append(st.Totals, Earned{Denom: t.Denom, Leases: t.Leases, BilledMS: t.BilledMS, Provider: t.Provider})
	}
	alerts, err := p.desk.journal.Alerts(ctx)
	for _, a := range alerts {
		st.Alerts = append(st.Alerts, Alert{ID: a.ID, Severity: a.Severity, Text: a.Text, SinceMS: a.SinceMS, Count: a.Count})
	}
	return st, err
}

func (p *Provider) leaseStatus(ctx context.Context, st *Status) error {
	live, err := p.desk.journal.Live(ctx)
	if err != nil {
		return err
	}
	recent, err := p.desk.journal.Recent(ctx, recentLeases)
	if err != nil {
		return err
	}
	for _, row := range append(live, recent...) {
		if row.State.Chain == leasing.ChainLapsed {
			continue // a promise nobody took up
		}
		ls, err := p.describe(row)
		if err != nil {
			return err
		}
		st.Leases = append(st.Leases, ls)
	}
	return nil
}

func (p *Provider) describe(row journal.Lease) (LeaseStatus, error) {
	order, err := wire.OpenBody[wire.Order](p.desk.chainID, row.Order)
	if err != nil {
		return LeaseStatus{}, err
	}
	bid, err := wire.Open[wire.Bid](p.desk.chainID, row.Bid)
	if err != nil {
		return LeaseStatus{}, err
	}
	s := row.State
	out := LeaseStatus{
		ID: hex.EncodeToString(row.ID[:]), Work: s.Work.String(), Chain: s.Chain.String(),
		Payer: chain.Address(order.Value.Payer), Rate: bid.Value.Rate.String(), Denom: bid.Value.Denom,
		ElapsedMS: s.ElapsedMS, AckedMS: s.Covered(), Tasks: s.Tasks, Text: s.Text, EndsBy: s.NoticeBy,
	}
	if s.Acked == nil {
		out.AckedMS = min(out.AckedMS, s.ElapsedMS)
	}
	if s.Reason != lease.ReasonNone {
		out.Reason = s.Reason.String()
	}
	if s.Settlement != nil {
		out.Paid, out.Reason = true, s.Settlement.Reason.String()
		out.Earned, err = amount.Parse(s.Settlement.Provider)
		return out, err
	}
	out.Earned, err = bid.Value.Rate.AccrueFloor(s.ElapsedMS)
	return out, err
}

// control is the local HTTP interface. The socket's mode is its authentication:
// whoever may open it is this user.
type control struct {
	p        *Provider
	listener net.Listener
	server   *http.Server
}

func newControl(p *Provider) (*control, error) {
	path := SocketPath(p.cfg.Home)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("home %s is too long a path for a control socket: at most %d bytes with %s", p.cfg.Home, maxSocketPath, socketName)
	}
	// The home's lock is held, so a socket that is there belongs to nobody.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if runtime.GOOS != "windows" { // there it has what its folder grants
		if err := os.Chmod(path, 0o600); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	c := &control{p: p, listener: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", c.status)
	mux.HandleFunc("DELETE /v1/alerts/{id}", c.dismiss)
	mux.HandleFunc("PUT /v1/bidding/{how}", c.bidding)
	mux.HandleFunc("DELETE /v1/leases/{id}", c.stop)
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	return c, nil
}

func (c *control) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.server.Close() })
	defer stop()
	if err := c.server.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (c *control) close() error {
	_ = c.server.Close()
	_ = c.listener.Close()
	return nil
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, journal.ErrNotFound) {
			code = http.StatusNotFound
		}
		w.WriteHeader(code)
		v = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(v)
}

func (c *control) status(w http.ResponseWriter, r *http.Request) {
	st, err := c.p.Status(r.Context())
	reply(w, st, err)
}

func (c *control) dismiss(w http.ResponseWriter, r *http.Request) {
	reply(w, struct{}{}, c.p.desk.journal.Dismiss(r.Context(), r.PathValue("id")))
}

func (c *control) bidding(w http.ResponseWriter, r *http.Request) {
	how := r.PathValue("how")
	if !slices.Contains([]string{"on", "off", "end"}, how) {
		reply(w, nil, fmt.Errorf("bidding is on, off or end, not %q", how))
		return
	}
	c.p.stall.paused.Store(how != "on")
	c.p.owner.end(how == "end")
	reply(w, struct{}{}, nil)
}

func (c *control) stop(w http.ResponseWriter, r *http.Request) {
	id, err := hex.DecodeString(strings.ToLower(r.PathValue("id")))
	if err != nil || len(id) != len(journal.ID{}) {
		reply(w, nil, fmt.Errorf("lease id %q is not 40 hex digits", r.PathValue("id")))
		return
	}
	a := c.p.desk.find(journal.ID(id))
	if a == nil {
		reply(w, nil, fmt.Errorf("lease %x: %w", id, journal.ErrNotFound))
		return
	}
	a.post(leasing.StopAsked{
		Reason: lease.ReasonProviderStopped, Text: "stopped by the provider", Elapsed: a.meter.elapsed(), Now: a.d.now(),
	})
	reply(w, struct{}{}, nil)
}

package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// closeTimeout bounds one close transaction; a chain that has halted is asked
// again later.
const closeTimeout = 90 * time.Second

// collectFor is how long a closed lease's provider is asked for what it still owes.
const collectFor = 8 * time.Second

// tick judges a lease by the clock: who is silent, who never started, who should
// have closed by now.
func (t *tenancy) tick(now time.Time) {
	if t.closed {
		if t.collecting() && now.After(t.collectBy) {
			t.finish()
		}
		return
	}
	if now.Sub(t.checkedAt) > reconcileEvery && (t.settling || !t.final.IsZero() || t.stream == nil) {
		t.checkedAt = now
		t.reconcile() // an event may have been missed before we watched
	}
	if t.settling || t.closing {
		return
	}
	quiet := min(now.Sub(t.heard), now.Sub(t.since))
	switch grace := time.Duration(t.row.GraceMS) * time.Millisecond; {
	case !t.final.IsZero():
		if now.Sub(t.final) > t.r.c.cfg.CloseAfter {
			t.closeFinal()
		}
	case !t.stopAt.IsZero() && now.Sub(t.stopAt) > t.r.c.cfg.CloseAfter:
		t.closeOneSided(t.stopReason())
	case t.acked == nil && now.Sub(t.row.Opened) > grace+startSlack:
		t.giveUp(lease.ReasonNotStarted, "it never started")
	case t.acked != nil && quiet > t.r.c.cfg.LostAfter:
		t.giveUp(lease.ReasonProviderVanished, fmt.Sprintf("nothing was heard for %s", quiet.Round(time.Second)))
	case t.acked != nil && quiet > orphanAfter && !t.told:
		t.told = true
		t.r.orphan(t, "its provider is silent")
	case t.acked != nil && quiet > silence && t.stream != nil:
		// The transport may take half a minute to see that the other end is gone.
		t.stream.Reset()
		_ = t.r.c.host.Network().ClosePeer(t.info.ID)
	}
}

func (t *tenancy) stopReason() lease.Reason {
	if t.acked == nil {
		return lease.ReasonNotStarted
	}
	return lease.ReasonTenantStopped
}

func (t *tenancy) giveUp(reason lease.Reason, why string) {
	t.r.avoid[t.row.Provider] = true
	t.told = true
	t.warn("giving up on it: " + why)
	t.r.orphan(t, why)
	t.closeOneSided(reason)
}

// closeFinal submits the final receipt that both signed, because the provider,
// whose bounty it would be, has not.
func (t *tenancy) closeFinal() {
	t.submit(marketv1.CloseItem{
		LeaseId: t.row.LeaseID, Action: marketv1.CloseAction_CLOSE_ACTION_FINAL, Proof: t.acked.Bytes(),
	})
}

// closeOneSided ends a lease alone, showing the highest receipt we signed: a
// lower one would cost the difference twice.
func (t *tenancy) closeOneSided(reason lease.Reason) {
	t.oneSided = true
	item := marketv1.CloseItem{
		LeaseId: t.row.LeaseID, Action: marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED, Reason: uint32(reason), Away: t.row.Away,
	}
	if t.acked != nil {
		item.Proof = t.acked.Bytes()
	}
	t.submit(item)
}

// submit sends one step beside the loop and looks at the lease afterwards.
func (t *tenancy) submit(item marketv1.CloseItem) {
	now := time.Now()
	if t.closing || now.Sub(t.triedAt) < reconcileEvery {
		return
	}
	t.closing, t.triedAt = true, now
	t.r.background(func() {
		ctx, cancel := context.WithTimeout(t.r.ctx, closeTimeout)
		defer cancel()
		err := t.r.c.closeLease(ctx, item)
		t.r.post(func() {
			t.closing = false
			if err != nil && !t.closed {
				t.warn("close not accepted: " + err.Error())
			}
			t.reconcile()
		})
	})
}

func (c *Client) closeLease(ctx context.Context, item marketv1.CloseItem) error {
	if c.keyErr != nil {
		return c.keyErr
	}
	res, err := c.sender.Send(ctx, &marketv1.MsgCloseLeases{Sender: c.sender.Address(), Items: []marketv1.CloseItem{item}})
	if err != nil {
		return err
	}
	reply, ok := chain.Response[*marketv1.MsgCloseLeasesResponse](res)
	if !ok || len(reply.Results) != 1 {
		return fmt.Errorf("the chain's answer in %s does not fit the question", res.TxHash)
	}
	if r := reply.Results[0].Refusal; r != nil {
		return &chain.Error{Code: chain.Code{Codespace: r.Codespace, Code: r.Code}, Text: r.Text, TxHash: res.TxHash, Height: res.Height}
	}
	return nil
}

// chainEvent takes what the chain says of this lease.
func (t *tenancy) chainEvent(e chain.Event) {
	switch m := e.Msg.(type) {
	case *marketv1.EventLeaseSettling:
		t.settles()
	case *marketv1.EventLeaseUpdated:
		if m.Action == marketv1.CloseAction_CLOSE_ACTION_CLAIM {
			t.contest(m.ElapsedMs)
		}
	case *marketv1.EventLeaseClosed:
		t.over(lease.Reason(m.Reason).String(), &m.Settlement)
	}
}

func (t *tenancy) settles() {
	if t.settling || t.closed {
		return
	}
	t.settling = true
	t.r.orphan(t, "the lease is being settled")
}

// grantedMS is the most we acknowledge: what we signed, in advance too, and what we
// saw being worked.
func (t *tenancy) grantedMS() uint64 {
	var ackedMS, seenMS uint64
	if t.acked != nil {
		ackedMS = t.acked.Value.ElapsedMS
	}
	if !t.started.IsZero() && t.heard.After(t.started) {
		seenMS = uint64(t.heard.Sub(t.started).Milliseconds()) + skewMS
	}
	return max(ackedMS, seenMS, t.awayMS)
}

// contest answers a claim that goes beyond what we saw being worked. What we
// never saw, we do not grant: not the time after the last sign of life.
func (t *tenancy) contest(claimedMS uint64) {
	granted := t.grantedMS()
	if claimedMS <= granted {
		return
	}
	signed, err := wire.Seal(wire.Contest{
		Version: wire.Version1, ChainID: t.r.c.chain.ChainID(), LeaseID: t.row.LeaseID, ElapsedMS: granted,
	}, t.o.key)
	if err != nil {
		t.warn("claim not contested: " + err.Error())
		return
	}
	t.warn(fmt.Sprintf("it claims %d ms where at most %d were seen: contesting", claimedMS, granted))
	t.triedAt = time.Time{}
	t.submit(marketv1.CloseItem{
		LeaseId: t.row.LeaseID, Action: marketv1.CloseAction_CLOSE_ACTION_CONTEST, Proof: signed.Bytes(),
	})
}

// reconcile asks the chain how the lease stands.
func (t *tenancy) reconcile() {
	t.r.background(func() {
		l, err := t.r.c.chain.Lease(t.r.ctx, t.row.LeaseID)
		t.r.post(func() {
			switch {
			case errors.Is(err, chain.ErrNotFound):
				t.over("settled and pruned", nil)
			case err != nil: // unknown is not a reason for anything
			case l.State == marketv1.LeaseState_LEASE_STATE_CLOSED:
				t.over(lease.Reason(l.Reason).String(), l.Settlement)
			case l.State == marketv1.LeaseState_LEASE_STATE_SETTLING:
				t.settles()
				if l.Claimed && !l.Contested {
					t.contest(l.ClaimMs)
				}
			}
		})
	})
}

// over: the chain has settled the lease.
func (t *tenancy) over(why string, s *marketv1.Settlement) {
	if t.closed {
		return
	}
	t.closed = true
	t.watch()
	t.heardAway() // nobody will answer any more
	if err := t.r.c.journal.SetEnd(context.WithoutCancel(t.r.ctx), t.row.OrderHash, journal.StateClosed, why); err != nil {
		t.warn(err.Error())
	}
	t.r.c.forgetFetch(t.o.signed.Digest)
	report := &LeaseReport{
		ID: t.name, JobID: journal.JobName(t.r.id), State: "closed", Provider: t.row.Provider, Moniker: t.row.Moniker,
		Node: fmt.Sprintf("%x", t.row.Node), Denom: t.denom(), Rate: t.row.Rate, Price: priceText(t.rate, t.denom()),
		CloseReason: why, OpenTx: t.row.OpenTx, OpenedAt: t.row.Opened, Isolation: t.row.Isolation, Ours: true,
	}
	if t.acked != nil {
		report.AckedMS = t.acked.Value.ElapsedMS
	}
	report.settle(s)
	t.r.emit(Event{Kind: EventClosed, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker, Text: why, Report: report})
	t.closeText = why
	t.collect()
}

// owes: the provider has not said how some index ended.
func (t *tenancy) owes() bool {
	for i := range t.assigned {
		if !t.r.tasks[i].Done {
			return true
		}
	}
	return false
}

// collect keeps the stream of a closed lease for a while if the provider still
// owes word of an index: a detached job ends and settles while nobody listens, and
// its results are kept.
func (t *tenancy) collect() {
	if !t.owes() {
		t.cancel()
		return
	}
	t.collectBy = time.Now().Add(collectFor)
}

func (t *tenancy) collecting() bool { return !t.collectBy.IsZero() }

// finish ends our care for a closed lease; what it never reported is lost.
func (t *tenancy) finish() {
	t.collectBy = time.Time{}
	text := "the lease was closed: " + t.closeText
	if t.endText != "" {
		text += ": " + t.endText
	}
	t.r.orphan(t, text)
	t.cancel()
}

package provider

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/idle"
)

// told is an owner's use as a test sets it.
type told struct{ atomic.Pointer[idle.Reading] }

func (t *told) Read(context.Context) idle.Reading { return *t.Load() }

func (t *tenantStream) notices() (out []p2p.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.status {
		if s.EndInMS > 0 {
			out = append(out, s)
		}
	}
	return out
}

// owned is a harness whose owner uses the machine as the test says.
func owned(t *testing.T, notice time.Duration) (*harness, *ownership, *told, context.Context) {
	t.Helper()
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour, ackWait: time.Hour})
	h.stall.cfg.Owner = idle.Rules{WhileIdle: true, BusyCPU: 25, BusyGPU: 20, Notice: notice}
	use := new(told)
	use.Store(&idle.Reading{})
	return h, &ownership{rules: h.stall.cfg.Owner, sensor: use, d: h.desk, stall: h.stall}, use, ctx
}

// look is one round of ownership.run.
func (o *ownership) look(ctx context.Context, w *idle.Watch) {
	now := time.Now()
	o.apply(w.Look(o.sensor.Read(ctx), now), now)
}

// TestOwnerTakesTheMachineBack: nothing new is taken, what runs is told, ends when
// its notice is over, and is paid up to there.
func TestOwnerTakesTheMachineBack(t *testing.T) {
	const notice = 200 * time.Millisecond
	h, o, use, ctx := owned(t, notice)
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	watch := idle.NewWatch(o.rules)
	o.look(ctx, watch)
	if h.stall.owned.Load() != nil || len(ten.notices()) > 0 {
		t.Fatal("an idle machine was taken back")
	}
	use.Store(&idle.Reading{FullScreen: "doom"})
	o.look(ctx, watch)
	if cause, r := h.stall.silence(h.watch.now()); cause != CauseOwner || strings.Contains(r.String(), "doom") {
		t.Fatalf("silence %q: %s", cause, r.String())
	}
	must(t, eventually(ctx, "notice", func() bool { return len(ten.notices()) > 0 }))
	if text := ten.notices()[0].Text; strings.Contains(text, "doom") {
		t.Fatalf("the tenant was told %q", text)
	}
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	l := h.w.leases()[ten.id].Lease
	if l.Reason != lease.ReasonProviderStopped || !l.Final || l.Settlement.BilledMS < uint64(notice.Milliseconds()) {
		t.Fatalf("closed as %s, %d ms billed", l.Reason, l.Settlement.BilledMS)
	}
	use.Store(&idle.Reading{})
	o.look(ctx, watch)
	if h.stall.owned.Load() != nil {
		t.Fatal("the machine is not lent again")
	}
}

// TestNoticeIsLifted: an owner who goes again in time ends nobody's work, and a
// pause of the owner's own is not lifted by an idle machine.
func TestNoticeIsLifted(t *testing.T) {
	h, o, use, ctx := owned(t, time.Hour)
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	a := h.desk.find(id)
	watch := idle.NewWatch(o.rules)
	given := func(want bool) {
		t.Helper()
		must(t, eventually(ctx, "the notice", func() bool { o.look(ctx, watch); return (a.snapshot().NoticeBy != 0) == want }))
	}
	busy := uint(90)
	use.Store(&idle.Reading{CPU: &busy})
	given(true)
	use.Store(&idle.Reading{})
	given(false)
	o.end(true)
	given(true)
	o.end(false)
	given(false)
	if a.snapshot().Work.String() != "running" {
		t.Fatalf("the work is %s", a.snapshot().Work)
	}
	ten.inbox <- &p2p.Stop{}
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
}

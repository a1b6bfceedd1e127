package leasing_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/leasing"
)

// TestNoSequenceOfEventsBreaksThePromises throws events at a lease in any order,
// also absurd ones, with crashes in between, and checks what must hold whatever
// happens. rapid prints the seed and the shortest sequence that breaks it.
func TestNoSequenceOfEventsBreaksThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := leasing.Terms{
			TimeoutMS:    rapid.Uint64Range(1, 100_000).Draw(t, "timeout"),
			GraceMS:      rapid.Uint64Range(0, 10_000).Draw(t, "grace"),
			MaxUnackedMS: rapid.Uint64Range(2_000, 20_000).Draw(t, "unacked"),
			OfflineMS:    rapid.SampledFrom([]uint64{0, 0, 5_000}).Draw(t, "offline"),
			Array:        rapid.Bool().Draw(t, "array"),
			KeepMS:       1000, AckWaitMS: 1000, NoticeMS: 2500,
		}
		w := &world{t: t, started: map[uint64]int{}, known: map[uint64]bool{}}
		w.s, _ = leasing.New(terms)
		w.journalled = w.s
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
		}
	})
}

const takenBack = "the owner takes the machine back"

// world plays runtime, tenant, chain and journal, and remembers what an honest
// provider may never do.
type world struct {
	t          *rapid.T
	s          leasing.State
	journalled leasing.State
	now        int64
	meter      uint64
	metering   bool
	started    map[uint64]int  // how often the runtime was asked to start an index
	known      map[uint64]bool // indices the runtime has
	promised   bool
	noticed    int64 // when the notice that stands was given
}

func (w *world) step() {
	e := w.draw()
	before := w.s
	next, fx, err := leasing.Step(w.s, e)
	if err != nil {
		if len(fx.Actions) > 0 || fx.Save {
			w.t.Fatalf("%T was refused and had effects", e)
		}
		return
	}
	w.check(before, next, fx, e)
	w.s = next
	if fx.Save {
		w.journalled = next
	}
	if rapid.IntRange(0, 9).Draw(w.t, "crash before acting") == 0 && w.journalled.Work > leasing.WorkOffered {
		w.crash()
		return
	}
	for _, a := range fx.Actions {
		w.act(a)
	}
}

func (w *world) crash() {
	b, _ := json.Marshal(w.journalled)
	w.s = leasing.State{}
	if err := json.Unmarshal(b, &w.s); err != nil {
		w.t.Fatal(err)
	}
	w.metering = false
	next, fx, err := leasing.Step(w.s, leasing.Restarted{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.check(w.s, next, fx, leasing.Restarted{})
	w.s = next
	if fx.Save {
		w.journalled = next
	}
	for _, a := range fx.Actions {
		w.act(a)
	}
}

func (w *world) act(a leasing.Action) {
	switch a := a.(type) {
	case leasing.StartClock:
		w.metering, w.meter = true, a.ElapsedMS
	case leasing.StopClock:
		w.metering = false
	case leasing.StartTask:
		w.started[a.Index]++
		if w.known[a.Index] {
			return // the runtime refuses a second start by itself; asking is only allowed after it said so
		}
		w.known[a.Index] = true
	case leasing.RecoverTask:
		var e leasing.Event = leasing.NeverStarted{Index: a.Index, Now: w.now}
		if w.known[a.Index] {
			e = leasing.Recovered{Index: a.Index}
		}
		next, fx, err := leasing.Step(w.s, e)
		if err != nil {
			w.t.Fatal(err)
		}
		w.check(w.s, next, fx, e)
		w.s = next
		if fx.Save {
			w.journalled = next
		}
		for _, a := range fx.Actions {
			w.act(a)
		}
	}
}

func (w *world) check(before, after leasing.State, fx leasing.Effects, e leasing.Event) {
	t := w.t
	if after.ElapsedMS < before.ElapsedMS || after.Sequence < before.Sequence {
		t.Fatalf("%T: counter or sequence fell: %d→%d, %d→%d", e, before.ElapsedMS, after.ElapsedMS, before.Sequence, after.Sequence)
	}
	if after.Work < before.Work && after.Work != leasing.WorkPreparing {
		t.Fatalf("%T: work went back from %s to %s", e, before.Work, after.Work)
	}
	if _, acked := e.(leasing.Acked); !acked && after.ElapsedMS > before.ElapsedMS && after.ElapsedMS > after.Ceiling() {
		t.Fatalf("%T: counter %d is past the ceiling %d", e, after.ElapsedMS, after.Ceiling())
	}
	if after.Final != nil && before.Final != nil && !after.Final.Final {
		t.Fatalf("%T: final receipt lost", e)
	}
	if !after.Started && after.ElapsedMS > 0 {
		if _, acked := e.(leasing.Acked); !acked && before.ElapsedMS == 0 {
			t.Fatalf("%T: billed without a start", e)
		}
	}
	if n, given := e.(leasing.NoticeGiven); given && before.NoticeBy == 0 && after.NoticeBy != 0 {
		w.noticed = n.Now
	}
	if after.NoticeBy != 0 && after.NoticeBy < w.noticed+int64(after.Terms.NoticeMS) {
		t.Fatalf("%T: notice until %d was given at %d, and %d ms of it are promised", e, after.NoticeBy, w.noticed, after.Terms.NoticeMS)
	}
	if after.Text == takenBack && before.Text != takenBack && (before.NoticeBy == 0 || w.now < before.NoticeBy) {
		t.Fatalf("%T: taken back at %d with notice until %d", e, w.now, before.NoticeBy)
	}
	changes := marshal(before) != marshal(after)
	for _, a := range fx.Actions {
		w.checkAction(after, fx, a, e)
	}
	if changes && !fx.Save && before.Work != leasing.WorkOffered {
		if _, ok := e.(leasing.Restarted); !ok { // only its deadline moves
			t.Fatalf("%T: state changed and is not saved\n%s\n%s", e, marshal(before), marshal(after))
		}
	}
}

func (w *world) checkAction(after leasing.State, fx leasing.Effects, a leasing.Action, e leasing.Event) {
	t := w.t
	switch a := a.(type) {
	case leasing.Submit:
		if after.Chain == leasing.ChainNone || after.Chain == leasing.ChainLapsed || after.Chain == leasing.ChainClosed {
			t.Fatalf("%T: %s while the chain is %s", e, a, after.Chain)
		}
		if a.Move == leasing.MoveOneSided && after.Chain != leasing.ChainOpen {
			t.Fatalf("%T: one-sided close while %s", e, after.Chain)
		}
		if a.Move == leasing.MoveClaim && after.ElapsedMS > after.Ceiling() {
			t.Fatalf("%T: claims %d past %d", e, after.ElapsedMS, after.Ceiling())
		}
	case leasing.Propose:
		if a.Receipt.ElapsedMS > after.Terms.TimeoutMS && after.Acked == nil {
			t.Fatalf("%T: proposes %d of %d", e, a.Receipt.ElapsedMS, after.Terms.TimeoutMS)
		}
	case leasing.StartTask:
		if after.Work != leasing.WorkRunning || after.Task == nil || *after.Task != a.Index {
			t.Fatalf("%T: starts %d while %s", e, a.Index, after.Work)
		}
		if w.known[a.Index] {
			t.Fatalf("%T: starts task %d twice", e, a.Index)
		}
	case leasing.SendReady:
		if !fx.Save {
			t.Fatalf("%T: ready leaves before the journal", e)
		}
	case leasing.Delete:
		if after.Chain != leasing.ChainClosed && after.Chain != leasing.ChainLapsed {
			t.Fatalf("%T: deletes results while the chain is %s", e, after.Chain)
		}
	}
}

func marshal(s leasing.State) string {
	s.AckBy = 0
	b, _ := json.Marshal(s)
	return string(b)
}

func (w *world) draw() leasing.Event {
	t := w.t
	step := rapid.Int64Range(0, 3000).Draw(t, "ms")
	w.now += step
	if w.metering {
		w.meter += uint64(step)
	}
	switch rapid.IntRange(0, 17).Draw(t, "event") {
	case 16:
		return leasing.NoticeGiven{By: w.now + rapid.Int64Range(-5000, 5000).Draw(t, "by"), Text: takenBack, Now: w.now}
	case 17:
		return leasing.NoticeLifted{}
	case 0:
		w.promised = true
		return leasing.Promised{}
	case 1:
		return leasing.Opened{}
	case 2:
		return leasing.Prepared{Now: w.now}
	case 3:
		if rapid.IntRange(0, 3).Draw(t, "fails") > 0 {
			return leasing.Tick{Elapsed: w.meter, Now: w.now}
		}
		return leasing.PrepareFailed{Reason: lease.ReasonBadManifest, Now: w.now}
	case 4, 5:
		if p := w.s.Proposed; p != nil {
			return leasing.Acked{Receipt: leasing.Signed{Receipt: *p, Bytes: []byte{1}}, Now: w.now}
		}
		if f := w.s.Final; f != nil {
			return leasing.Acked{Receipt: leasing.Signed{Receipt: *f, Bytes: []byte{1}}, Now: w.now}
		}
		return leasing.Attached{Now: w.now}
	case 6:
		return leasing.AwaySigned{UntilMS: rapid.Uint64Range(0, 200_000).Draw(t, "away"), Bytes: []byte{2}, Now: w.now}
	case 7:
		i := rapid.Uint64Range(0, 3).Draw(t, "index")
		return leasing.TaskAsked{Index: i, Finished: w.known[i] && (w.s.Task == nil || *w.s.Task != i)}
	case 8:
		if w.s.Task != nil && w.known[*w.s.Task] {
			return leasing.TaskFinished{Index: *w.s.Task, Outcome: leasing.Outcome{Lease: lease.ReasonCompleted}, Elapsed: w.meter, Now: w.now}
		}
		return leasing.NoMoreTasks{Elapsed: w.meter, Now: w.now}
	case 9:
		return leasing.StopAsked{Reason: lease.ReasonTenantStopped, Elapsed: w.meter, Now: w.now}
	case 10, 11, 12:
		return leasing.Tick{Elapsed: w.meter, Now: w.now}
	case 13:
		if w.s.Chain < leasing.ChainOpen {
			return leasing.Lapsed{}
		}
		return leasing.SettlingSeen{Shown: leasing.Shown{ByPayer: true, ClaimEnd: 10}, Elapsed: w.meter, Now: w.now}
	case 14:
		if w.s.Work == leasing.WorkOffered {
			return leasing.Promised{}
		}
		if rapid.Bool().Draw(t, "closed") {
			return leasing.ClosedSeen{Settlement: leasing.Settlement{Provider: "0"}, Elapsed: w.meter, Now: w.now}
		}
		return leasing.KeepOver{Now: w.now}
	default:
		return leasing.Refused{Move: leasing.Move(rapid.IntRange(1, 4).Draw(t, "move")), Now: w.now}
	}
}

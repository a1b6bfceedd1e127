package client

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/receipt"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

func goodJob(t *testing.T) Job {
	t.Helper()
	price, err := amount.ParsePrice("0.02MOY/h")
	if err != nil {
		t.Fatal(err)
	}
	return Job{Module: "x.wasm", Timeout: time.Minute, MaxPrice: price}
}

func TestJobValidate(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		change func(*Job)
		says   string // empty: valid
	}{
		"plain":              {func(*Job) {}, ""},
		"array":              {func(j *Job) { j.Array = &Array{First: 3, Last: 9, Parallel: 4} }, ""},
		"input":              {func(j *Job) { j.Inputs = []Input{{"a", dir}} }, ""},
		"no module":          {func(j *Job) { j.Module = "" }, "no module"},
		"no timeout":         {func(j *Job) { j.Timeout, j.TaskTimeout = 0, 0 }, "no timeout"},
		"no price":           {func(j *Job) { j.MaxPrice = amount.Price{} }, "0.05MOY/h"},
		"task too long":      {func(j *Job) { j.TaskTimeout = time.Hour }, "raise the timeout"},
		"short unacked":      {func(j *Job) { j.MaxUnacked = time.Second }, "receipts come every second"},
		"backward array":     {func(j *Job) { j.Array = &Array{First: 9, Last: 3, Parallel: 1} }, "9 down to 3"},
		"whole range":        {func(j *Job) { j.Array = &Array{First: 0, Last: 1<<64 - 1, Parallel: 1} }, "at most"},
		"huge array":         {func(j *Job) { j.Array = &Array{First: 0, Last: maxTasks, Parallel: 1} }, "at most"},
		"stdin for an array": {func(j *Job) { j.Array = &Array{Last: 1, Parallel: 1}; j.Stdin = strings.NewReader("") }, "standard input"},
		"missing input":      {func(j *Job) { j.Inputs = []Input{{"a", filepath.Join(dir, "absent")}} }, "no such file"},
		"path as name":       {func(j *Job) { j.Inputs = []Input{{"../a", dir}} }, "plain name"},
		"twice":              {func(j *Job) { j.Inputs = []Input{{"a", dir}, {"a", dir}} }, "two inputs"},
		"reserved":           {func(j *Job) { j.Env = map[string]string{"MOYAI_INDEX": "1"} }, "reserved"},
	} {
		j := goodJob(t)
		j.EnsureDefaults()
		tc.change(&j)
		err := j.Validate()
		if tc.says == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tc.says != "" && (!errors.Is(err, ErrBadJob) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want ErrBadJob that says %q", name, err, tc.says)
		}
	}
}

func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		output    string
		overwrite bool
		ok        bool
	}{
		{"", false, true},
		{filepath.Join(dir, "new", "deep"), false, true},
		{dir, false, false}, // holds a file
		{dir, true, true},
		{filepath.Join(file, "below"), false, false},
	} {
		j := Job{Output: tc.output, Overwrite: tc.overwrite}
		err := j.checkOutput()
		if tc.ok != (err == nil) || (err != nil && !errors.Is(err, ErrOutput)) {
			t.Errorf("output %q, overwrite %v: %v", tc.output, tc.overwrite, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".moyai-*")); len(left) > 0 {
		t.Errorf("the check left %v behind", left)
	}
}

func TestLogPositions(t *testing.T) {
	l := newLogPositions()
	piece := func(task uint64, off uint64, s string) string {
		return string(l.take(&p2p.Log{Task: task, Stream: p2p.Stdout, Offset: off, Data: []byte(s)}))
	}
	for _, tc := range []struct {
		task, off uint64
		data      string
		want      string
	}{
		{0, 0, "hello", "hello"},
		{0, 0, "hello", ""},            // repeated
		{0, 3, "lo wo", " wo"},         // overlapping
		{1, 0, "other", "other"},       // another task
		{0, 8, "rld", "rld"},           // going on
		{0, 1<<64 - 2, "overflow", ""}, // offset past the end of numbers
	} {
		if got := piece(tc.task, tc.off, tc.data); got != tc.want {
			t.Errorf("task %d at %d %q gave %q, want %q", tc.task, tc.off, tc.data, got, tc.want)
		}
	}
	offsets := l.offsets()
	if len(offsets) != 2 || offsets[0].Task != 1 || offsets[1].Offset != 11 {
		t.Errorf("offsets %+v", offsets)
	}
	for i := range uint64(2 * p2p.MaxLogOffsets) {
		piece(i, 0, "x")
	}
	if n := len(l.offsets()); n != p2p.MaxLogOffsets {
		t.Errorf("%d offsets in a hello, at most %d", n, p2p.MaxLogOffsets)
	}
}

// fakeBid is a bid as far as choosing looks at it.
func fakeBid(provider string, slot uint32, rate uint64) *bid {
	node := bytes.Repeat([]byte(provider[:1]), 32)
	b := &bid{provider: provider, peer: peer.ID(provider)}
	b.signed.Value = wire.Bid{Node: node, Slot: slot, Generation: 1, Rate: amount.NewRate(rate), Denom: "umoy"}
	b.signed.Digest[0], b.signed.Digest[1] = provider[0], byte(slot)
	return b
}

func picked(choices []*choice) (out []string) {
	for _, ch := range choices {
		out = append(out, ch.bids[0].provider+string(rune('0'+ch.bids[0].signed.Value.Slot)))
	}
	return out
}

func TestChoose(t *testing.T) {
	orders := func(n int) []*order { return make([]*order, n) }
	single := &Job{}
	array := &Job{Array: &Array{Last: 9}}
	for name, tc := range map[string]struct {
		job   *Job
		avoid string
		bids  [][]*bid
		want  string
	}{
		"cheapest":            {single, "", [][]*bid{{fakeBid("b", 0, 9), fakeBid("a", 0, 5)}}, "a0"},
		"avoided is last":     {single, "a", [][]*bid{{fakeBid("b", 0, 9), fakeBid("a", 0, 5)}}, "b0"},
		"avoided but alone":   {single, "a", [][]*bid{{fakeBid("a", 0, 5)}}, "a0"},
		"nobody":              {single, "", [][]*bid{{}}, ""},
		"spread, then cheap":  {array, "", [][]*bid{{fakeBid("a", 0, 5), fakeBid("b", 0, 9)}, {fakeBid("a", 1, 5), fakeBid("b", 1, 9)}, {fakeBid("a", 2, 5), fakeBid("b", 2, 9)}}, "a0 b1 a2"},
		"one slot, two wants": {array, "", [][]*bid{{fakeBid("a", 0, 5)}, {fakeBid("a", 0, 5)}}, "a0"},
		"makes room":          {array, "", [][]*bid{{fakeBid("a", 0, 5), fakeBid("b", 1, 9)}, {fakeBid("a", 0, 5)}}, "b1 a0"},
		"fewer bids":          {array, "", [][]*bid{{}, {fakeBid("a", 0, 5)}}, "a0"},
	} {
		s := &shopping{job: tc.job, program: &program{bytes: 1}, avoid: map[string]bool{tc.avoid: true}}
		choices := s.choose(orders(len(tc.bids)), &collection{bids: tc.bids})
		if got := strings.Join(picked(choices), " "); got != tc.want {
			t.Errorf("%s: chose %q, want %q", name, got, tc.want)
		}
	}
}

// TestCandidatesBySize: what is fetched by every candidate must not be large.
func TestCandidatesBySize(t *testing.T) {
	for _, tc := range []struct {
		bytes uint64
		want  int
	}{{1, 4}, {1 << 20, 4}, {1<<20 + 1, 2}, {17 << 20, 1}} {
		if got := (&program{bytes: tc.bytes}).candidates(); got != tc.want {
			t.Errorf("%d bytes go to %d, want %d", tc.bytes, got, tc.want)
		}
	}
}

func TestAfford(t *testing.T) {
	job := goodJob(t)
	rate, err := job.MaxPrice.Rate()
	if err != nil {
		t.Fatal(err)
	}
	b := fakeBid("a", 0, 0)
	b.signed.Value.Rate = rate
	o := &order{}
	o.signed.Value.Terms.TimeoutMS = 600_000
	// The worked example: a hold of 3,334 and a bounty of 20.
	params := marketv1.Params{Denoms: []marketv1.Denom{{Denom: "umoy", Bounty: "20"}}}
	s := &shopping{job: &job}
	var firstFees amount.Amount
	check := func(have uint64, n int) error {
		choices := make([]*choice, n)
		for i := range choices {
			choices[i] = &choice{order: o, bids: []*bid{b}}
		}
		need := map[string]amount.Amount{"umoy": amount.New(have)}
		return s.afford(balanceReply{have: need}, choices, params, "moyai1tenant", firstFees)
	}
	if err := check(3354, 1); err != nil {
		t.Errorf("exactly enough: %v", err)
	}
	if err := check(6707, 2); !errors.Is(err, ErrFunds) {
		t.Errorf("one too little for two: %v", err)
	}
	err = check(3353, 1)
	var funds *FundsError
	if !errors.As(err, &funds) || funds.Need != amount.New(3354) || funds.Have != amount.New(3353) {
		t.Fatalf("one too little: %v", err)
	}
	for _, part := range []string{"0.003354 MOY", "0.003353 MOY", "moyai1tenant"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	firstFees = amount.New(100)
	if err := check(3453, 1); !errors.Is(err, ErrFunds) {
		t.Errorf("without a newcomer's first fees: %v", err)
	}
	if err := check(3454, 1); err != nil {
		t.Errorf("with a newcomer's first fees: %v", err)
	}
	job.MaxPrice.Denom = "uother"
	if err := check(9999, 1); !errors.Is(err, ErrBadJob) || !strings.Contains(err.Error(), "umoy") {
		t.Errorf("unknown denomination: %v", err)
	}
}

func TestErrorTexts(t *testing.T) {
	refused := &RefusedError{Refusals: []ProviderRefusal{
		{Provider: "moyai1a", Moniker: "alice", Reasons: []string{"needs 24 GiB of memory.bytes, has 16 GiB"}},
		{Provider: "moyai1b", Reasons: []string{"busy"}},
	}}
	if !errors.Is(refused, ErrNoBid) || !strings.Contains(refused.Error(), "alice: needs 24 GiB") || !strings.Contains(refused.Error(), "moyai1b: busy") {
		t.Errorf("refusals: %v", refused)
	}
	ceiling, _ := amount.RateFromPrice(amount.New(10_000), 3600)
	lowest, _ := amount.RateFromPrice(amount.New(20_000), 3600)
	dear := &TooDearError{Ceiling: ceiling, Lowest: lowest, Denom: "umoy"}
	if !errors.Is(dear, ErrTooDear) || !strings.Contains(dear.Error(), "0.02 MOY/h") || !strings.Contains(dear.Error(), "0.01 MOY/h") {
		t.Errorf("too dear: %v", dear)
	}
}

func TestExitCode(t *testing.T) {
	ok := TaskResult{Done: true, Reason: "exited"}
	for _, tc := range []struct {
		tasks []TaskResult
		want  int
	}{
		{[]TaskResult{ok, ok}, 0},
		{[]TaskResult{ok, {Done: true, Reason: "exited", ExitCode: 7}}, 7},
		{[]TaskResult{{Done: true, Reason: "deadline"}}, 125},
		{[]TaskResult{ok, {}}, 125},
		{nil, 125},
	} {
		if got := (&Result{Tasks: tc.tasks}).ExitCode(); got != tc.want {
			t.Errorf("%+v: exit code %d, want %d", tc.tasks, got, tc.want)
		}
	}
}

func TestEmitterKeepsOrder(t *testing.T) {
	var got []int
	e := newEmitter(func(ev Event) { got = append(got, ev.Count) })
	for i := range 5000 {
		e.send(Event{Count: i})
	}
	e.close()
	e.send(Event{Count: -1}) // after the end: dropped, not a panic
	if len(got) != 5000 {
		t.Fatalf("%d events of 5000", len(got))
	}
	for i, n := range got {
		if n != i {
			t.Fatalf("event %d came at place %d", n, i)
		}
	}
}

// watched is a lease that was acknowledged so far, started so long ago, and heard
// of so long after its start.
func watched(acked *wire.Receipt, started, heard time.Duration) *tenancy {
	t := &tenancy{o: &order{}}
	t.o.signed.Value.Terms.MaxUnackedMS = 10_000
	if acked != nil {
		t.acked = &wire.Signed[wire.Receipt]{Value: *acked}
		t.started = time.Now().Add(-started)
		t.heard = t.started.Add(heard)
	}
	return t
}

// TestCountersigning: the rules of mechanism/receipt, and our own clock.
func TestCountersigning(t *testing.T) {
	start := &wire.Receipt{}
	at5 := &wire.Receipt{Sequence: 5, ElapsedMS: 5000}
	over := &wire.Receipt{Sequence: 6, ElapsedMS: 5000, Final: true, Reason: 1}
	for name, tc := range map[string]struct {
		lease *tenancy
		away  uint64
		next  receipt.Receipt
		err   error
	}{
		"start":                 {watched(nil, 0, 0), 0, receipt.Receipt{}, nil},
		"start that counts":     {watched(nil, 0, 0), 0, receipt.Receipt{ElapsedMS: 1}, receipt.ErrSkips},
		"no start":              {watched(nil, 0, 0), 0, receipt.Receipt{Sequence: 3, ElapsedMS: 3000}, receipt.ErrSequence},
		"never started":         {watched(nil, 0, 0), 0, receipt.Receipt{Sequence: 1, Final: true, Reason: 13}, nil},
		"next":                  {watched(at5, 6*time.Second, 0), 0, receipt.Receipt{Sequence: 6, ElapsedMS: 6000}, nil},
		"final":                 {watched(at5, 6*time.Second, 0), 0, receipt.Receipt{Sequence: 6, ElapsedMS: 6000, Final: true, Reason: 1}, nil},
		"backwards":             {watched(at5, time.Minute, 0), 0, receipt.Receipt{Sequence: 6, ElapsedMS: 4999}, receipt.ErrBackwards},
		"skips past unacked":    {watched(at5, time.Minute, 0), 0, receipt.Receipt{Sequence: 6, ElapsedMS: 15_001}, receipt.ErrSkips},
		"covered by an away":    {watched(at5, time.Minute, 0), 40_000, receipt.Receipt{Sequence: 6, ElapsedMS: 45_000}, nil},
		"ahead of our clock":    {watched(start, time.Second, 0), 0, receipt.Receipt{Sequence: 1, ElapsedMS: 1000 + skewMS + 500}, receipt.ErrAhead},
		"away and ahead":        {watched(at5, 6*time.Second, 0), 600_000, receipt.Receipt{Sequence: 6, ElapsedMS: 60_000}, receipt.ErrAhead},
		"after the final":       {watched(over, time.Minute, 0), 0, receipt.Receipt{Sequence: 7, ElapsedMS: 5000}, receipt.ErrAfterFinal},
		"same sequence, higher": {watched(at5, time.Minute, 0), 0, receipt.Receipt{Sequence: 5, ElapsedMS: 6000}, receipt.ErrSequence},
	} {
		tc.lease.awayMS = tc.away
		if err := tc.lease.mayAck(tc.next); !errors.Is(err, tc.err) || (tc.err == nil && err != nil) {
			t.Errorf("%s: %v, want %v", name, err, tc.err)
		}
	}
}

// TestGranted: a claim is contested above what was signed and what was seen, not
// above what might have gone on unseen.
func TestGranted(t *testing.T) {
	at39 := &wire.Receipt{Sequence: 39, ElapsedMS: 39_000}
	for name, tc := range map[string]struct {
		lease *tenancy
		want  uint64
	}{
		"never started":           {watched(nil, 0, 0), 0},
		"heard until the end":     {watched(at39, time.Hour, 40*time.Second), 40_000 + skewMS},
		"silent since before":     {watched(at39, time.Hour, 30*time.Second), 39_000},
		"attached again, unheard": {watched(at39, time.Hour, -time.Second), 39_000},
	} {
		if got := tc.lease.grantedMS(); got != tc.want {
			t.Errorf("%s: %d ms, want %d", name, got, tc.want)
		}
	}
	away := watched(at39, time.Hour, 0)
	away.awayMS = 600_000
	if got := away.grantedMS(); got != away.awayMS {
		t.Errorf("%d ms granted to one that was promised %d", got, away.awayMS)
	}
}

// TestLateFailure: a provider that comes back from the dead and tells what became
// of a task there does not end it elsewhere.
func TestLateFailure(t *testing.T) {
	for _, now := range []string{"another", ""} { // given to another lease; waiting for one
		k := &task{TaskResult: TaskResult{Lease: now, Attempts: singleAttempts}}
		r := &run{tasks: map[uint64]*task{0: k}}
		old := &tenancy{r: r, name: "old", assigned: map[uint64]bool{0: true}}
		r.taskDone(old, &p2p.TaskDone{Index: 0, ExitCode: 255, Reason: "crashed"})
		if k.Done || k.Lease != now {
			t.Errorf("a task of lease %q ended with what another said: %+v", now, k)
		}
		if len(old.assigned) > 0 {
			t.Error("the old lease still owes the task, so it would never close")
		}
	}
}

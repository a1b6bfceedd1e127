package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moyai-network/moyai/client/journal"
)

const (
	tickPeriod = 250 * time.Millisecond
	// singleAttempts is how many providers a single job is tried on if the fault
	// was theirs. A program's own failure is never repeated.
	singleAttempts = 2
	maxFetches     = 4
	// A replacement is asked for so often, with pauses: longer in all than a
	// provider takes to restart.
	replaceAttempts = 6
	replacePause    = 5 * time.Second
)

// run is a job that this process attends to. One goroutine, loop, owns all its
// fields and those of its tenancies; everything else posts to it.
type run struct {
	c       *Client
	id      []byte
	job     Job
	program *program // nil after Attach, until something is to be bought
	lock    *journal.Lock

	ctx    context.Context // ends when the loop does
	cancel context.CancelFunc
	inbox  chan func()
	wg     sync.WaitGroup // what the loop started

	tasks    map[uint64]*task
	queue    []uint64 // indices that wait for a lease
	leases   map[string]*tenancy
	avoid    map[string]bool
	buying   bool
	bought   int // leases opened, replacements included
	refused  int // replacement purchases that failed in a row
	buyAgain time.Time
	fetching chan struct{}
	fetches  int // under way
	stopping bool
	fedTo    *tenancy // who gets or got the standard input
	detached bool
	failure  error  // why the job cannot go on
	image    string // digest that a provider pulled
	told     bool   // that secrets are missing
	polled   time.Time

	events *emitter

	done   chan struct{} // closed when the loop has ended and events are delivered
	result *Result
	err    error
}

// task is one index.
type task struct {
	TaskResult
	Root []byte `json:"root,omitempty"` // CID of its results

	fetching bool
}

func (c *Client) newRun(id []byte, job Job, lock *journal.Lock) *run {
	ctx, cancel := context.WithCancel(c.ctx)
	r := &run{
		c: c, id: id, job: job, lock: lock, ctx: ctx, cancel: cancel,
		inbox: make(chan func(), 64), tasks: map[uint64]*task{}, leases: map[string]*tenancy{}, avoid: map[string]bool{},
		fetching: make(chan struct{}, maxFetches), events: newEmitter(job.Events), done: make(chan struct{}),
	}
	for _, i := range r.indices() {
		r.tasks[i] = &task{TaskResult: TaskResult{Index: i}}
	}
	return r
}

func (r *run) indices() []uint64 {
	if r.job.Array == nil {
		return []uint64{0}
	}
	out := make([]uint64, 0, r.job.Array.Tasks())
	for i := r.job.Array.First; ; i++ {
		out = append(out, i)
		if i == r.job.Array.Last {
			return out
		}
	}
}

func (r *run) attempts() int {
	if r.job.Array == nil {
		return singleAttempts
	}
	return r.job.Array.MaxAttempts
}

func (r *run) parallel() int {
	if r.job.Array == nil {
		return 1
	}
	return r.job.Array.Parallel
}

// post hands fn to the loop; it reports false if the loop has ended.
func (r *run) post(fn func()) bool {
	select {
	case r.inbox <- fn:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// background runs fn beside the loop; the loop's end waits for it.
func (r *run) background(fn func()) { r.wg.Go(fn) }

func (r *run) emit(e Event) { r.events.send(e) }

// loop is the job's life.
func (r *run) loop() {
	tick := time.NewTicker(tickPeriod)
	defer tick.Stop()
	for !r.over() {
		select {
		case fn := <-r.inbox:
			fn()
		case <-tick.C:
			r.tick()
		case <-r.c.ctx.Done():
			r.err = fmt.Errorf("client closed: %w", ErrDetached)
			r.end()
			return
		}
		r.advance()
	}
	r.conclude()
	r.end()
}

// end stops everything this process does for the job; leases that are open stay
// so.
func (r *run) end() {
	r.cancel()
	for _, t := range r.leases {
		t.leave()
	}
	r.wg.Wait()
	r.events.close()
	r.lock.Unlock()
	close(r.done)
}

// over: nothing is left to do, or the job was let go.
func (r *run) over() bool {
	if r.detached {
		return true
	}
	if r.buying || r.fetches > 0 {
		return false
	}
	for _, t := range r.leases {
		if !t.closed || t.collecting() {
			return false
		}
	}
	return r.stopping || r.failure != nil || r.complete()
}

// complete: every index has ended.
func (r *run) complete() bool {
	for _, t := range r.tasks {
		if !t.Done {
			return false
		}
	}
	return true
}

// tick looks at the clocks.
func (r *run) tick() {
	now := time.Now()
	for _, t := range r.leases {
		t.tick(now)
	}
	if now.Sub(r.polled) > time.Second {
		r.polled = now
		if job, err := r.c.journal.JobByID(r.ctx, r.id); err == nil && job.Stopping && !r.stopping {
			r.stop() // another process asked for it
		}
	}
}

// advance deals what waits, ends what nobody waits for, and buys when nobody is
// left to deal to.
func (r *run) advance() {
	if r.stopping || r.failure != nil || r.detached {
		return
	}
	if r.fetches == 0 && r.complete() {
		for _, t := range r.leases {
			if len(t.assigned) > 0 { // a double that another lease overtook
				t.requestStop()
			}
		}
	}
	live, kept := 0, 0
	for _, t := range r.sorted() {
		t.deal()
		if t.accepts() {
			live++
		}
		if !t.closed || t.collecting() {
			kept++
		}
	}
	if len(r.queue) == 0 || r.buying || live > 0 || time.Now().Before(r.buyAgain) {
		return
	}
	if r.bought >= r.parallel()*r.attempts()+r.attempts() {
		if kept == 0 {
			r.fail(fmt.Errorf("%w: %d leases were not enough; %d tasks are left", ErrFailed, r.bought, len(r.queue)))
		}
		return
	}
	r.replace(min(len(r.queue), r.parallel()))
}

// replaced takes the outcome of a replacement purchase. A failed one is tried
// again: the provider that fell silent may come back, another may become free.
func (r *run) replaced(got []bought, err error) {
	r.opened(got)
	if err == nil {
		r.refused = 0
		return
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	r.refused++
	if r.refused >= replaceAttempts {
		r.fail(fmt.Errorf("no replacement for a lost lease: %w", err))
		return
	}
	r.emit(Event{Kind: EventWarning, Text: "no replacement for a lost lease yet: " + err.Error()})
	r.buyAgain = time.Now().Add(replacePause)
}

// sorted are the leases in a stable order, so that dealing is repeatable.
func (r *run) sorted() []*tenancy {
	out := make([]*tenancy, 0, len(r.leases))
	for _, t := range r.leases {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *tenancy) int { return a.row.Opened.Compare(b.row.Opened) })
	return out
}

// replace buys k more leases beside the loop.
func (r *run) replace(k int) {
	r.buying = true
	held, avoid := map[string]uint64{}, map[string]bool{}
	for _, t := range r.leases {
		if !t.closed {
			held[t.row.Provider]++
		}
	}
	for p := range r.avoid {
		avoid[p] = true
	}
	program := r.program
	r.background(func() {
		var err error
		if program == nil {
			program, err = r.c.prepareAgain(r.ctx, r.id, &r.job)
		}
		var got []bought
		job := r.job
		if err == nil {
			err = r.c.placeAgain(r.ctx, &job)
		}
		if err == nil {
			s := &shopping{c: r.c, jobID: r.id, job: &job, program: program, held: held, avoid: avoid, emit: r.emit}
			got, err = s.buy(r.ctx, k)
		}
		r.post(func() {
			r.buying, r.program = false, program
			r.replaced(got, err)
		})
	})
}

// opened takes new leases into care.
func (r *run) opened(got []bought) {
	for _, b := range got {
		row := journal.Lease{
			OrderHash: b.order.hash(), Job: r.id, LeaseID: b.candidate.LeaseID, State: journal.StateOpen,
			SignedOrder: b.order.signed.Bytes(), ReceiptSeed: b.order.seed, Candidate: b.candidate, OpenTx: b.tx, Opened: b.at,
		}
		r.attend(row, b.order)
	}
}

// attend starts caring for one lease.
func (r *run) attend(row journal.Lease, o *order) {
	t, err := newTenancy(r, row, o)
	if err != nil {
		r.emit(Event{Kind: EventWarning, Lease: leaseName(row.LeaseID), Text: err.Error()})
		return
	}
	r.bought++
	r.leases[t.name] = t
	r.rememberVolumes(t)
	r.emit(Event{Kind: EventOpened, Lease: t.name, Provider: row.Provider, Moniker: row.Moniker,
		Price: priceText(t.rate, t.denom()), Tx: row.OpenTx})
	if r.job.Array == nil {
		t.assign(0)
	}
	if r.stopping {
		t.requestStop()
	}
	t.begin()
}

// fail gives the job up: what runs is stopped, what was used is settled.
func (r *run) fail(err error) {
	if r.failure == nil {
		r.failure = err
		r.emit(Event{Kind: EventWarning, Text: err.Error()})
	}
	for _, t := range r.leases {
		t.requestStop()
	}
}

func (r *run) stop() {
	r.stopping = true
	if err := r.c.journal.SetStopping(r.ctx, r.id); err != nil {
		r.emit(Event{Kind: EventWarning, Text: err.Error()})
	}
	for _, t := range r.leases {
		t.requestStop()
	}
}

// conclude writes the job's end and makes its result.
func (r *run) conclude() {
	if r.detached {
		r.err = fmt.Errorf("%w: come back with its id %s", ErrDetached, journal.JobName(r.id))
		return
	}
	ctx := context.WithoutCancel(r.ctx)
	if err := r.c.journal.SetDone(ctx, r.id); err != nil {
		r.emit(Event{Kind: EventWarning, Text: err.Error()})
	}
	r.result, r.err = r.c.resultOf(ctx, r.id)
	if r.err == nil {
		r.err = r.verdict()
	}
}

func (r *run) verdict() error {
	if r.failure != nil {
		return r.failure
	}
	var bad, unfinished int
	var first *task
	for _, i := range r.indices() {
		t := r.tasks[i]
		switch {
		case !t.Done:
			unfinished++
		case !t.OK():
			bad++
			if first == nil {
				first = t
			}
		case r.job.Output != "" && !t.Fetched:
			return fmt.Errorf("task %d: %w", t.Index, ErrResultGone)
		}
	}
	switch {
	case first != nil:
		return fmt.Errorf("%w: %d of %d tasks; task %d: %s", ErrFailed, bad, len(r.tasks), first.Index, taskText(&first.TaskResult))
	case unfinished > 0:
		return fmt.Errorf("%w: stopped with %d of %d tasks unfinished", ErrFailed, unfinished, len(r.tasks))
	}
	return nil
}

func taskText(t *TaskResult) string {
	text := t.Reason
	if t.Reason == reasonExited {
		text = fmt.Sprintf("exit code %d", t.ExitCode)
	}
	if t.Error != "" {
		text += ": " + t.Error
	}
	return text
}

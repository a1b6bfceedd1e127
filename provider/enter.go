package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
)

// How much may go on inside leases at once, and how fast.
const (
	maxPrograms    = 32   // of one lease: programs, ssh connections, listings
	maxConnections = 256  // of one lease: forwarded
	maxVisits      = 2048 // of all leases together

	maxTrackedLeases = 4096

	// startPatience is how long a visit waits for a program that is being started.
	startPatience = 5 * time.Second
)

// visitRate is how often one lease may be entered.
var visitRate = limit.Rate{PerSecond: 40, Burst: 160}

// door lets tenants into their tasks and keeps count of who is inside.
type door struct {
	hostKey ssh.Signer
	rate    *limit.Limiter[journal.ID]

	mu     sync.Mutex
	total  int
	inside map[journal.ID]*visits
}

// visits are those of one lease.
type visits struct{ programs, connections int }

func newDoor(hostKey ssh.Signer) *door {
	return &door{hostKey: hostKey, rate: limit.New[journal.ID](visitRate, maxTrackedLeases, nil), inside: map[journal.ID]*visits{}}
}

// errCrowd: what a tenant is told who wants more than is allowed at once.
var errCrowd = errors.New("too much goes on in this lease already: end something first")

// take counts one more program, or connection, until leave is called.
func (d *door) take(id journal.ID, connection bool) (leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.inside[id]
	if v == nil {
		v = &visits{}
	}
	n, most := &v.programs, maxPrograms
	if connection {
		n, most = &v.connections, maxConnections
	}
	if *n >= most || d.total >= maxVisits {
		return nil, errCrowd
	}
	*n++
	d.total++
	d.inside[id] = v
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		*n--
		d.total--
		if v.programs+v.connections == 0 {
			delete(d.inside, id)
		}
	}), nil
}

// serveVisits answers tenants who enter until ctx ends.
func (p *Provider) serveVisits(ctx context.Context) error {
	remove := enter.Handle(p.host, p.desk.enter)
	defer remove()
	<-ctx.Done()
	return nil
}

// join counts the caller among what the daemon's end waits for, until leave.
func (d *desk) join() (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return nil, false
	}
	d.wg.Add(1)
	return d.wg.Done, true
}

// enter serves one visit to its end.
func (d *desk) enter(ctx context.Context, v *enter.Visit) {
	leave, ok := d.join()
	if !ok {
		return
	}
	defer leave()
	a, refusal := d.greet(ctx, v)
	if refusal != nil {
		_ = v.Refuse(*refusal)
		return
	}
	r := &v.Request
	if r.Events != nil {
		d.tellEvents(ctx, v, a)
		return
	}
	task, gone, refusal := a.enterable(ctx, r.Task)
	if refusal != nil {
		_ = v.Refuse(*refusal)
		return
	}
	done, err := d.door.take(a.row.ID, r.Dial != nil)
	if err != nil {
		_ = v.Refuse(p2p.Refusal{Subject: enter.SubjectBusy, Hint: err.Error()})
		return
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	go func() { // an ended task ends its visits
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	in := &visit{Visit: v, a: a, task: task}
	switch {
	case r.Exec != nil:
		err = in.exec(ctx)
	case r.Dial != nil:
		err = in.dial(ctx)
	case r.SSH != nil:
		err = in.ssh(ctx)
	case r.Top != nil:
		err = in.top(ctx)
	}
	if err != nil {
		a.log.Debug("visit ended", "peer", v.Peer(), "err", err)
	}
}

// greet finds the lease of a visit and makes sure that the peer may speak for it. A
// lease that is over is known from the journal.
func (d *desk) greet(ctx context.Context, v *enter.Visit) (*agreement, *p2p.Refusal) {
	id := journal.ID(v.Request.LeaseID)
	unknown := &p2p.Refusal{Subject: enter.SubjectLease, Hint: "this provider does not know the lease, or has forgotten it"}
	a := d.find(id)
	if a == nil {
		row, err := d.journal.Find(ctx, id)
		if err == nil {
			a, err = newAgreement(d, row)
		}
		if err != nil {
			return nil, unknown
		}
	}
	if err := a.admits(v.Request.Access, []byte(v.Peer()), a.d.clock()); err != nil {
		return nil, &p2p.Refusal{Subject: enter.SubjectAccess, Hint: p2p.Printable(err.Error(), p2p.MaxText, false)}
	}
	// Not before: lease ids are public, and strangers must not use up a tenant's rate.
	if !d.door.rate.Allow(id) {
		return nil, &p2p.Refusal{Subject: enter.SubjectBusy, Hint: "entered too often: wait a second"}
	}
	return a, nil
}

// enterable is the running task that is meant: that of an index, or the one that
// runs. gone is closed when it has ended.
func (a *agreement) enterable(ctx context.Context, index *uint64) (compute.Interactive, <-chan struct{}, *p2p.Refusal) {
	s := a.snapshot()
	switch {
	case s.Work >= leasing.WorkEnded:
		return nil, nil, refused(enter.SubjectEnded, "the lease has ended: %s", endReason(s))
	case s.Work == leasing.WorkStopping:
		return nil, nil, refused(enter.SubjectEnded, "the lease is ending: %s", endReason(s))
	case s.Work < leasing.WorkRunning:
		return nil, nil, refused(enter.SubjectNotStarted, "the program has not started yet: the lease is %s", s.Work)
	}
	if index == nil {
		index = s.Task
	}
	if index == nil {
		return nil, nil, refused(enter.SubjectNotStarted, "no task runs at the moment")
	}
	a.job.mu.Lock()
	t := a.job.tasks[*index]
	a.job.mu.Unlock()
	if t == nil {
		if _, err := a.d.journal.Task(ctx, a.row.ID, *index); err == nil {
			return nil, nil, refused(enter.SubjectTask, "task %d has ended", *index)
		}
		return nil, nil, refused(enter.SubjectTask, "task %d does not run on this lease", *index)
	}
	select { // a started lease's program is there in moments
	case <-t.known:
	case <-ctx.Done():
		return nil, nil, refused(enter.SubjectProvider, "the provider is ending")
	case <-time.After(startPatience):
		return nil, nil, refused(enter.SubjectNotStarted, "task %d is just being started", *index)
	}
	inside, ok := t.task.(compute.Interactive)
	switch {
	case t.task == nil:
		return nil, nil, refused(enter.SubjectTask, "task %d did not start", *index)
	case !ok && a.man.Runtime == "wasm":
		return nil, nil, refused(enter.SubjectRuntime, "a WebAssembly program cannot be entered: only containers can")
	case !ok:
		return nil, nil, refused(enter.SubjectRuntime, "containers cannot be entered on this provider, which runs them by way of Docker")
	}
	return inside, t.gone, nil
}

func refused(subject, format string, args ...any) *p2p.Refusal {
	return &p2p.Refusal{Subject: subject, Hint: p2p.Printable(fmt.Sprintf(format, args...), p2p.MaxText, false)}
}

// refusalOf says in the protocol's words why a task would not do something.
func refusalOf(err error) *p2p.Refusal {
	subject := enter.SubjectProvider
	switch {
	case errors.Is(err, compute.ErrBadProgram):
		subject = enter.SubjectProgram
	case errors.Is(err, compute.ErrInvalidSpec):
		subject = enter.SubjectRequest
	case errors.Is(err, compute.ErrRefused):
		subject = enter.SubjectPort
	case errors.Is(err, compute.ErrNotFound):
		return refused(enter.SubjectEnded, "the program has ended")
	case errors.Is(err, compute.ErrUnsupported):
		subject = enter.SubjectRuntime
	}
	// The sentinel is what the subject says already.
	text := err.Error()
	for _, known := range []error{compute.ErrBadProgram, compute.ErrInvalidSpec, compute.ErrUnavailable} {
		text = strings.TrimPrefix(text, known.Error()+": ")
	}
	return refused(subject, "%s", text)
}

// note writes down what happened, beside everything else: an account of it, not a
// basis to act on.
func (a *agreement) note(notes ...leasing.Note) {
	if len(notes) == 0 {
		return
	}
	now := a.d.now()
	a.d.wg.Go(func() {
		if err := a.d.journal.AddNotes(a.d.ctx, a.row.ID, now, notes...); err != nil && a.d.ctx.Err() == nil {
			a.log.Warn("not noted", "err", err)
			return
		}
		a.changed()
	})
}

package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// leaseStream is a tenant's stream, as *p2p.LeaseStream.
type leaseStream interface {
	Send(m p2p.LeaseMessage) error
	Recv() (p2p.LeaseMessage, error)
	CloseWrite() error
	Close()
	Reset()
}

// session is one attached stream of a lease. It shows, in order, every task's
// output and end, and beside that the receipts to be countersigned.
type session struct {
	a      *agreement
	stream leaseStream
	hello  p2p.Hello
	from   map[p2p.LogOffset]uint64 // by (task, stream), offset zero in the key

	// proposals holds the newest receipts; an older one is worth nothing once a
	// newer one is there, but a start and a final receipt may both wait.
	proposals chan []byte
	said      p2p.Status // the last one sent
}

// attach admits a stream to its lease, or says why not.
func (d *desk) attach(ctx context.Context, stream leaseStream, peer []byte, hello p2p.Hello) {
	a := d.find([20]byte(hello.LeaseID))
	if a == nil {
		refuse(stream, p2p.Refusal{Subject: "lease", Hint: "this provider does not know it, or has deleted its results"})
		return
	}
	if err := a.admits(hello.Access, peer, a.d.clock()); err != nil {
		refuse(stream, p2p.Refusal{Subject: "access", Hint: p2p.Printable(err.Error(), p2p.MaxText, false)})
		return
	}
	s := &session{a: a, stream: stream, hello: hello, from: map[p2p.LogOffset]uint64{}, proposals: make(chan []byte, 4)}
	for _, o := range hello.LogFrom {
		s.from[p2p.LogOffset{Task: o.Task, Stream: o.Stream}] = o.Offset
	}
	s.serve(ctx)
}

func refuse(stream leaseStream, r p2p.Refusal) {
	_ = stream.Send(&p2p.Refused{Refusal: r})
	stream.Close()
}

// admits checks that the order's receipt key lets this peer speak.
func (a *agreement) admits(access, peer []byte, now time.Time) error {
	signed, err := wire.Open[wire.Access](a.d.chainID, access)
	if err != nil {
		return err
	}
	switch v := signed.Value; {
	case string(v.OrderHash) != string(a.row.OrderHash[:]):
		return errors.New("access is for another order")
	case string(v.Peer) != string(peer):
		return errors.New("access is for another peer")
	case v.ExpiresAt <= unixMS(now):
		return errors.New("access has expired: sign a new one")
	}
	return signed.VerifyBy(a.order.Terms.ReceiptKey)
}

// linger is how long a tenant may take to close its side after the end.
const linger = 10 * time.Second

func (s *session) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, s.stream.Reset) // unblocks Recv and Send
	s.join()
	defer s.part()
	showed := make(chan struct{})
	go func() {
		defer close(showed)
		if err := s.show(ctx); err != nil {
			cancel()
			return
		}
		// Closing at once would throw away what the tenant has not read yet.
		_ = s.stream.CloseWrite()
		time.AfterFunc(linger, cancel)
	}()
	if !s.hello.Observer {
		go s.propose(ctx)
		s.a.post(leasing.Attached{Now: s.a.d.now()})
	}
	if err := s.hear(ctx); ctx.Err() == nil && !errors.Is(err, io.EOF) {
		s.a.log.Debug("stream ended", "err", err)
		cancel()
	}
	<-showed // a tenant that only stopped talking still reads
	if stop() {
		s.stream.Close()
	}
}

func (s *session) join() {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.a.sess[s] = struct{}{}
}

func (s *session) part() {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	delete(s.a.sess, s)
}

// offer queues a receipt; called under the agreement's lock, so it never waits.
func (s *session) offer(receipt []byte) {
	if s.hello.Observer {
		return
	}
	for {
		select {
		case s.proposals <- receipt:
			return
		default:
		}
		select {
		case <-s.proposals: // the oldest makes room
		default:
		}
	}
}

func (s *session) propose(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.proposals:
			if err := s.stream.Send(&p2p.Propose{Receipt: r}); err != nil {
				return
			}
		}
	}
}

// hear takes in what the tenant says until it stops talking.
func (s *session) hear(ctx context.Context) error {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return err
		}
		if s.hello.Observer {
			continue // it only watches
		}
		if err := s.heard(ctx, m); err != nil {
			return fmt.Errorf("%T: %w", m, err)
		}
	}
}

func (s *session) heard(ctx context.Context, m p2p.LeaseMessage) error {
	a, now := s.a, s.a.d.now()
	switch m := m.(type) {
	case *p2p.Ack:
		return a.acknowledge(m.Receipt)
	case *p2p.SignAway:
		if err := a.leave(ctx, m.Away); err != nil {
			return err
		}
		return s.stream.Send(&p2p.Status{State: p2p.StateAway})
	case *p2p.RunTask:
		if m.Index > math.MaxInt64 {
			return fmt.Errorf("task index %d is out of range", m.Index)
		}
		_, err := a.d.journal.Task(ctx, a.row.ID, m.Index)
		a.post(leasing.TaskAsked{Index: m.Index, Finished: err == nil})
	case *p2p.NoMoreTasks:
		a.post(leasing.NoMoreTasks{Elapsed: a.meter.elapsed(), Now: now})
	case *p2p.Stop:
		a.post(leasing.StopAsked{Reason: lease.ReasonTenantStopped, Text: "stopped by the tenant", Elapsed: a.meter.elapsed(), Now: now})
	case *p2p.Secrets:
		return a.secrets(m)
	case *p2p.Stdin:
		if a.job.stdin == nil {
			return errors.New("an array job has no standard input")
		}
		if err := a.job.stdin.write(m.Data); err != nil {
			return err
		}
		if m.EOF {
			a.job.stdin.finish()
		}
	}
	return nil
}

// view is what the agreement looks like now, and what tells of the next change.
func (a *agreement) view() (s leasing.State, tasks []taskView, ended bool, news <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, append([]taskView(nil), a.tasks...), a.ended, a.news
}

// show sends status, logs, task ends and the end, until there is nothing more to
// come. Nil means that everything was said.
func (s *session) show(ctx context.Context) error {
	next := 0
	for {
		state, tasks, ended, news := s.a.view()
		if err := s.status(state); err != nil {
			return err
		}
		if next < len(tasks) {
			if err := s.task(ctx, tasks[next].index); err != nil {
				return err
			}
			next++
			continue
		}
		if ended || state.Done() || s.hello.Logs == p2p.LogSnapshot {
			return s.stream.Send(&p2p.End{Reason: uint64(endReason(state)), Text: p2p.Printable(state.Text, p2p.MaxText, false)})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// status sends the state in words if it is news.
func (s *session) status(state leasing.State) error {
	status := s.a.status(state)
	if status == s.said {
		return nil
	}
	s.said = status
	return s.stream.Send(&status)
}

func endReason(s leasing.State) lease.Reason {
	if s.Reason == lease.ReasonNone && s.Settlement != nil {
		return s.Settlement.Reason
	}
	return s.Reason
}

// status is the state in words.
func (a *agreement) status(s leasing.State) p2p.Status {
	st := p2p.Status{State: s.Work.String(), Text: p2p.Printable(s.Text, p2p.MaxText, false), Image: a.job.imageDigest(), Isolation: a.job.isolation()}
	st.Loaded, st.Total = a.job.loaded()
	if s.Work == leasing.WorkRunning {
		st.DryInMS = s.Terms.TimeoutMS - min(s.Terms.TimeoutMS, s.ElapsedMS)
		st.DryInMS -= st.DryInMS % 60_000 // a status per minute is news enough
	}
	if s.NoticeBy != 0 && s.Work <= leasing.WorkRunning {
		left := max(s.NoticeBy-a.d.now(), 1)
		st.EndInMS, st.Text = uint64(left+9_999)/10_000*10_000, p2p.Printable(s.NoticeText, p2p.MaxText, false)
	}
	return st
}

// task shows one task: its output as it comes, then its end.
func (s *session) task(ctx context.Context, index uint64) error {
	logs := s.tails(index)
	defer func() {
		for _, t := range logs {
			t.close()
		}
	}()
	const quick, slow = 2 * time.Millisecond, 100 * time.Millisecond
	pause := quick
	for {
		state, outcome, billed, news := s.a.outcome(index)
		if err := s.status(state); err != nil {
			return err
		}
		sent, err := s.pump(logs)
		if err != nil {
			return err
		}
		if outcome != nil && !sent {
			return s.stream.Send(done(index, outcome, billed))
		}
		if s.hello.Logs == p2p.LogSnapshot && !sent {
			return nil
		}
		if sent {
			pause = quick
			continue
		}
		if pause = min(2*pause, slow); len(logs) == 0 {
			pause = time.Hour
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-time.After(pause):
		}
	}
}

func done(index uint64, o *leasing.Outcome, billed uint64) *p2p.TaskDone {
	return &p2p.TaskDone{
		Index: index, ExitCode: uint32(o.ExitCode), Reason: p2p.Printable(o.Reason, p2p.MaxID, false), Error: p2p.Printable(o.Text, p2p.MaxTaskError, true),
		Output: o.Output, OutputBytes: o.OutputBytes, BilledMS: billed,
	}
}

func (a *agreement) outcome(index uint64) (leasing.State, *leasing.Outcome, uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tasks {
		if t.index == index {
			return a.state, t.outcome, t.billed, a.news
		}
	}
	return a.state, nil, 0, a.news
}

// tail follows one log file from an offset.
type tail struct {
	task   uint64
	stream p2p.LogStream
	path   string
	offset uint64
	file   *os.File
	buf    [p2p.MaxLogData]byte
}

func (s *session) tails(index uint64) []*tail {
	if s.hello.Logs == p2p.LogNone || s.a.job == nil {
		return nil
	}
	run := s.a.job.run(index)
	var out []*tail
	for stream, path := range map[p2p.LogStream]string{p2p.Stdout: run.Stdout(), p2p.Stderr: run.Stderr()} {
		out = append(out, &tail{task: index, stream: stream, path: path, offset: s.from[p2p.LogOffset{Task: index, Stream: stream}]})
	}
	return out
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// read returns the next piece, nil if there is none now.
func (t *tail) read() *p2p.Log {
	if t.file == nil {
		f, err := os.Open(t.path)
		if err != nil {
			return nil // not there yet, or deleted
		}
		t.file = f
	}
	n, _ := t.file.ReadAt(t.buf[:], int64(min(t.offset, math.MaxInt64)))
	if n == 0 {
		return nil
	}
	m := &p2p.Log{Task: t.task, Stream: t.stream, Offset: t.offset, Data: t.buf[:n]}
	t.offset += uint64(n)
	return m
}

// pump sends what the logs have now and reports whether there was anything.
func (s *session) pump(logs []*tail) (sent bool, err error) {
	for _, t := range logs {
		if m := t.read(); m != nil {
			if err := s.stream.Send(m); err != nil {
				return true, err
			}
			sent = true
		}
	}
	return sent, nil
}

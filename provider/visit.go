package provider

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/provider/sshd"
)

// visit is an admitted tenant and the task it may enter.
type visit struct {
	*enter.Visit
	a    *agreement
	task compute.Interactive
}

// connectTime bounds connecting to a port inside.
const connectTime = 10 * time.Second

// refuse says why the task would not do it.
func (v *visit) refuse(err error) error {
	_ = v.Refuse(*refusalOf(err))
	return err
}

func (v *visit) exec(ctx context.Context) error {
	r := v.Request.Exec
	e := compute.Exec{
		Tool: compute.Tool(r.Tool), Args: r.Args, Env: r.Env, Dir: r.Dir, User: r.User,
		TTY: r.TTY, Size: compute.Size{Columns: r.Size.Columns, Rows: r.Size.Rows},
	}
	proc, err := v.task.Exec(ctx, e)
	if err != nil {
		return v.refuse(err)
	}
	defer func() { _ = proc.Close() }()
	if err := v.Admit(nil); err != nil {
		return err
	}
	end := v.a.session("exec", programName(e))
	code, err := v.Attach(ctx, running{proc})
	if err != nil {
		end("lost")
		return err
	}
	end(fmt.Sprintf("ended with code %d", code))
	return nil
}

// programName is what is written down of a program: not its arguments, which may
// hold secrets.
func programName(e compute.Exec) string {
	if e.Tool != compute.ToolNone {
		return string(e.Tool)
	}
	return path.Base(e.Args[0])
}

// running is a compute.Process in the protocol's words.
type running struct{ compute.Process }

// Resize implements enter.Running.
func (r running) Resize(columns, rows uint16) error {
	return r.Process.Resize(compute.Size{Columns: columns, Rows: rows})
}

func (v *visit) dial(ctx context.Context) error {
	port := v.Request.Dial.Port
	patient, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	inside, err := v.task.Dial(patient, port)
	if err != nil {
		return v.refuse(err)
	}
	if err := v.Admit(nil); err != nil {
		_ = inside.Close()
		return err
	}
	v.a.forwarded(port)
	enter.Splice(ctx, v.Conn(), inside)
	return nil
}

func (v *visit) ssh(ctx context.Context) error {
	d := v.a.d
	if err := v.Admit(d.door.hostKey.PublicKey().Marshal()); err != nil {
		return err
	}
	return sshd.Serve(ctx, v.Conn(), v.task, sshd.Config{
		HostKey: d.door.hostKey, Keys: v.Request.SSH.Keys, Begin: v.begin,
	})
}

// begin counts and writes down what an ssh client does.
func (v *visit) begin(what string, port uint16) (end func(how string), err error) {
	leave, err := v.a.d.door.take(v.a.row.ID, port != 0)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		v.a.forwarded(port)
		return func(string) { leave() }, nil
	}
	ended := v.a.session("ssh", what)
	return func(how string) {
		leave()
		ended(how)
	}, nil
}

// session writes down that a program began and, with end, how it ended.
func (a *agreement) session(kind, what string) (end func(how string)) {
	began := time.Now()
	what = p2p.Printable(what, p2p.MaxID, false)
	a.note(leasing.Note{Chapter: leasing.ChapterSession, Kind: kind, Text: what})
	return func(how string) {
		took := time.Since(began).Round(time.Millisecond)
		a.note(leasing.Note{Chapter: leasing.ChapterSession, Kind: kind, Text: fmt.Sprintf("%s %s after %s", what, how, took)})
	}
}

// forwardsEvery is how often connections to one port are worth writing down, and
// maxPorts how many ports are told apart for it.
const (
	forwardsEvery = time.Minute
	maxPorts      = 64
)

// forwards remembers when connections to a port were last written down.
type forwards struct {
	mu   sync.Mutex
	last map[uint16]time.Time
}

// forwarded writes down that a port is used, now and then.
func (a *agreement) forwarded(port uint16) {
	f := &a.ports
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if last, ok := f.last[port]; ok && now.Sub(last) < forwardsEvery {
		return
	}
	if f.last == nil || len(f.last) >= maxPorts {
		f.last = map[uint16]time.Time{}
	}
	f.last[port] = now
	a.note(leasing.Note{Chapter: leasing.ChapterSession, Kind: "forward", Text: fmt.Sprintf("port %d", port)})
}

// top shows the processes, once or until the tenant goes or the task ends.
func (v *visit) top(ctx context.Context) error {
	l, err := v.listing(ctx)
	if err != nil {
		return v.refuse(err)
	}
	if err := v.Admit(nil); err != nil {
		return err
	}
	every := time.Duration(v.Request.Top.EveryMS) * time.Millisecond
	if every == 0 {
		return v.Show(l)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the stream
		v.Gone()
		cancel()
	}()
	for {
		if err := v.Show(l); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
		if l, err = v.listing(ctx); err != nil {
			return err // it has ended, and so has the listing
		}
	}
}

func (v *visit) listing(ctx context.Context) (*enter.Listing, error) {
	processes, err := v.task.Processes(ctx)
	if err != nil {
		return nil, err
	}
	u, spec := v.task.Usage(), v.a.job.spec()
	l := &enter.Listing{
		CPUMS: millis(u.CPU), WallMS: millis(u.Wall), MemoryPeak: u.MemoryPeak, Output: u.OutputBytes,
		CPUMilli: spec.Limits.CPUMilli, MemoryBytes: spec.Limits.MemoryBytes,
	}
	for _, p := range processes[:min(len(processes), enter.MaxProcesses)] {
		l.Processes = append(l.Processes, enter.Process{
			PID: uint64(max(p.PID, 0)), Command: p2p.Printable(p.Command, enter.MaxCommand, false), CPUMS: millis(p.CPU),
			Memory: p.MemoryBytes, Threads: uint64(max(p.Threads, 0)), SinceMS: millis(p.Since),
		})
	}
	return l, nil
}

func millis(d time.Duration) uint64 { return uint64(max(d, 0).Milliseconds()) }

// tellEvents tells what happened to the lease, also when it is over: all there is,
// and with Follow what comes until nothing more will.
func (d *desk) tellEvents(ctx context.Context, v *enter.Visit, a *agreement) {
	if err := v.Admit(nil); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	go func() { // ends with the stream
		v.Gone()
		cancel()
	}()
	var last int64
	for {
		state, _, _, news := a.view()
		notes, err := d.journal.Notes(ctx, a.row.ID, last)
		if err != nil {
			return
		}
		for _, n := range notes {
			last = n.Seq
			if err := v.Tell(&enter.Entry{At: n.AtMS, Kind: n.Kind, Text: p2p.Printable(n.Text, p2p.MaxText, false)}); err != nil {
				return
			}
		}
		if !v.Request.Events.Follow || state.Work >= leasing.WorkEnded && state.Chain >= leasing.ChainClosed {
			d.tellReceipt(v, state)
			_ = v.Tell(&enter.Entry{End: true})
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

// tellReceipt tells how far the receipts have come, which is not worth a note every
// second.
func (d *desk) tellReceipt(v *enter.Visit, s leasing.State) {
	if s.Acked == nil {
		return
	}
	text := fmt.Sprintf("%d receipts, countersigned up to %s", s.Acked.Sequence, time.Duration(s.Acked.ElapsedMS)*time.Millisecond)
	_ = v.Tell(&enter.Entry{At: d.now(), Kind: "receipt", Text: text})
}

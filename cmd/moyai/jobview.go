package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/compute"
)

// jobView shows a job's events: JSON lines for programs, a bar on a terminal,
// plain lines in a pipe. The program's own output goes to standard output,
// everything about it to standard error.
type jobView struct {
	a     *app
	array *client.Array
	quiet bool
	mute  bool // leave the program's output out: what is printed is the job's id

	bars *mpb.Progress // nil: plain lines
	bar  *mpb.Bar
	out  io.Writer // where the program's output goes
	note io.Writer // where we speak
	wait waiting

	offers  map[string]bool   // shown already
	partial map[logKey][]byte // of array jobs: the line being written
	done    int
	failed  int
	once    sync.Once
}

type logKey struct {
	task   uint64
	stream int
}

func (a *app) newJobView(array *client.Array, quiet bool) *jobView {
	v := &jobView{a: a, array: array, quiet: quiet, out: a.out, note: a.err, offers: map[string]bool{}, partial: map[logKey][]byte{}}
	if quiet || a.json {
		return v
	}
	if v.wait.w, v.wait.live = a.err, array == nil && terminal(a.err); array == nil || !terminal(a.err) {
		return v
	}
	v.bars = mpb.New(mpb.WithOutput(a.err), mpb.WithWidth(48))
	v.bar = v.bars.AddBar(int64(array.Tasks()),
		mpb.PrependDecorators(decor.CountersNoUnit("%d of %d tasks ")),
		mpb.AppendDecorators(decor.Percentage(), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	// Lines above the bar, or the terminal garbles both.
	v.note, v.wait.w = v.bars, v.bars
	if terminal(a.out) {
		v.out = v.bars
	}
	return v
}

// resume begins where an earlier process left off.
func (v *jobView) resume(done int) {
	v.done = done
	if v.bar != nil {
		v.bar.SetCurrent(int64(done))
	}
}

// close lets the bar draw itself for the last time.
func (v *jobView) close() {
	v.once.Do(func() {
		v.flush()
		v.wait.done()
		if v.bars == nil {
			return
		}
		if !v.bar.Completed() {
			v.bar.Abort(false)
		}
		v.bars.Wait()
		v.note, v.out = v.a.err, v.a.out
	})
}

// event receives everything that happens, from one goroutine.
func (v *jobView) event(e client.Event) {
	if v.a.json {
		_ = v.a.line(e)
		return
	}
	switch e.Kind {
	case client.EventLog:
		if !v.mute {
			v.log(e)
		}
	case client.EventTask:
		v.task(e)
	}
	if !v.quiet {
		v.tell(e)
	}
}

// tell says what a person waiting wants to know. Refusals are not among it: if
// nobody bids, the error names them all, and otherwise they do not matter.
func (v *jobView) tell(e client.Event) {
	who := printable(e.Moniker)
	if who == "" {
		who = printable(e.Provider)
	}
	switch e.Kind {
	case client.EventLoading:
		v.wait.far(who+" loads", e.Bytes, e.Total)
	case client.EventFetching:
		v.wait.far("results are coming:", e.Bytes, e.Total)
	case client.EventStatus:
		if v.wait.shown {
			v.wait.now(who + " makes it ready")
		}
	case client.EventStarted, client.EventFetched:
		v.wait.done()
	case client.EventBid:
		// An array job asks for several leases at once: once per provider is news.
		if e.New {
			who += " (new)"
		}
		if offer := who + " offers " + e.Price + loading(e); !v.offers[offer] {
			v.offers[offer] = true
			v.say("%s", offer)
		}
	case client.EventOpened:
		v.say("lease %s with %s at %s", short(e.Lease), who, e.Price)
	case client.EventNotice:
		v.say("%s", noticeText(who, e))
	case client.EventRetry:
		v.say("task %d goes elsewhere: %s", e.Task, printable(e.Text))
	case client.EventLost:
		v.say("lost the connection to lease %s: %s", short(e.Lease), printable(e.Text))
	case client.EventWarning:
		v.say("warning: %s", printable(strings.ReplaceAll(e.Text, "\n", ";")))
	case client.EventClosed:
		if r := e.Report; r != nil {
			v.say("lease %s closed: %s for %s, %s back", short(r.ID), formatUnits(r.Paid, r.Denom), formatMS(r.BilledMS), formatUnits(r.Refunded, r.Denom))
		}
	}
}

// loading says how soon a bidder can start, if it could know.
func loading(e client.Event) string {
	switch {
	case e.MS > 0:
		return fmt.Sprintf(", starts in about %d s", (e.MS+999)/1000)
	case e.Bytes > 0:
		return ", has what it needs"
	}
	return ""
}

func (v *jobView) say(format string, args ...any) {
	v.wait.done()
	fmt.Fprintf(v.note, format+"\n", args...)
}

func (v *jobView) task(e client.Event) {
	r := e.Result
	if r == nil || r.Reason != compute.ReasonStopped.String() { // what was cut off is not done
		v.done++
		if v.bar != nil {
			v.bar.Increment()
		}
	}
	if r == nil {
		return
	}
	if !r.OK() {
		v.failed++
		v.say("%s", taskError(*r, v.array != nil))
	} else if v.array != nil && v.bar == nil && !v.quiet {
		v.say("%d of %d tasks", v.done, v.array.Tasks())
	}
}

// noticeText says that a provider will end a lease early, or will not after all.
func noticeText(who string, e client.Event) string {
	if e.MS == 0 {
		return fmt.Sprintf("%s lets lease %s go on", who, short(e.Lease))
	}
	return fmt.Sprintf("%s ends lease %s in %s: %s", who, short(e.Lease), formatMS(e.MS), printable(e.Text))
}

// taskError says why a task did not succeed.
func taskError(r client.TaskResult, array bool) string {
	what := "the program"
	if array {
		what = fmt.Sprintf("task %d", r.Index)
	}
	text := fmt.Sprintf("%s ended with code %d", what, r.ExitCode)
	if r.Reason == compute.ReasonStopped.String() {
		return what + " was stopped"
	}
	if r.Reason != compute.ReasonExited.String() && r.Reason != "" {
		text = fmt.Sprintf("%s was ended: %s", what, r.Reason)
	}
	if r.Error != "" {
		text += ": " + printable(r.Error)
	}
	return text
}

// log copies the program's output. A single job's bytes pass through as they
// are; those of an array job come as whole lines with their index in front.
func (v *jobView) log(e client.Event) {
	v.wait.done()
	w := v.out
	if e.Stream == 2 {
		w = v.note
	}
	if v.array == nil {
		_, _ = w.Write(e.Data)
		return
	}
	key := logKey{e.Task, e.Stream}
	buf := append(v.partial[key], e.Data...)
	for {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			break
		}
		fmt.Fprintf(w, "[%d] %s\n", e.Task, buf[:i])
		buf = buf[i+1:]
	}
	v.partial[key] = bytes.Clone(buf)
}

// flush prints lines that never ended.
func (v *jobView) flush() {
	for key, rest := range v.partial {
		if len(rest) > 0 {
			fmt.Fprintf(v.out, "[%d] %s\n", key.task, rest)
		}
	}
	clear(v.partial)
}

// summary says what a job cost, on standard error.
func (a *app) summary(res *client.Result) {
	if len(res.Leases) == 0 {
		return
	}
	t := newTable(a.err, "LEASE", "PROVIDER", "PRICE", "BILLED", "PAID", "BACK", "ENDED")
	for _, l := range res.Leases {
		name := l.Moniker
		if name == "" {
			name = l.Provider
		}
		t.row(short(l.ID), name, l.Price, formatMS(l.BilledMS), formatUnits(l.Paid, l.Denom), formatUnits(l.Refunded, l.Denom), l.CloseReason)
	}
	_ = t.flush()
	if res.Output != "" {
		a.say("results are in %s", strings.TrimSuffix(res.Output, "/"))
	}
}

// line prints v as one line of JSON.
func (a *app) line(v any) error { return json.NewEncoder(a.out).Encode(v) }

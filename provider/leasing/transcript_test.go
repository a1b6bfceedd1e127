package leasing_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/leasing"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestTranscripts plays testdata/*.txt. A line "> event key=value …" is an event;
// the lines under it are what Step answered. A line "# …" is a comment. Every
// state passes through its JSON form between two events, so that what the
// journal forgets the transcript forgets too.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("transcript differs; got\n%s", got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	var out strings.Builder
	var s leasing.State
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			word, args := parse(t, line[2:])
			before := s.Work.String() + "/" + s.Chain.String()
			var fx leasing.Effects
			var err error
			var story []leasing.Note
			if word == "new" {
				before = ""
				s, fx = leasing.New(args.terms())
			} else {
				event, old := args.event(word), s
				if s, fx, err = leasing.Step(s, event); err == nil {
					story = leasing.Story(old, s, event)
				}
			}
			describe(&out, before, s, fx, err)
			for _, n := range story {
				fmt.Fprintf(&out, "  tells %s: %s\n", n.Kind, n.Text)
			}
			s = throughJournal(t, s)
		}
	}
	return out.String()
}

func describe(out *strings.Builder, before string, s leasing.State, fx leasing.Effects, err error) {
	if err != nil {
		fmt.Fprintf(out, "  error: %v\n", err)
		return
	}
	if after := s.Work.String() + "/" + s.Chain.String(); after != before {
		fmt.Fprintf(out, "  = %s\n", after)
	}
	if fx.Save {
		fmt.Fprintln(out, "  journal")
	}
	for _, a := range fx.Actions {
		fmt.Fprintf(out, "  %s\n", a)
	}
}

func throughJournal(t *testing.T, s leasing.State) leasing.State {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back leasing.State
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

type args struct {
	t *testing.T
	m map[string]string
}

func parse(t *testing.T, line string) (string, args) {
	t.Helper()
	fields := strings.Fields(line)
	a := args{t, map[string]string{}}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		a.m[k] = v
	}
	return fields[0], a
}

func (a args) u(key string) uint64 {
	a.t.Helper()
	if a.m[key] == "" {
		return 0
	}
	v, err := strconv.ParseUint(a.m[key], 10, 64)
	if err != nil {
		a.t.Fatalf("%s: %v", key, err)
	}
	return v
}

func (a args) has(key string) bool { _, ok := a.m[key]; return ok }
func (a args) now() int64          { return int64(a.u("now")) }

func (a args) terms() leasing.Terms {
	return leasing.Terms{
		TimeoutMS: a.u("timeout"), GraceMS: a.u("grace"), MaxUnackedMS: a.u("unacked"), OfflineMS: a.u("offline"),
		Array: a.has("array"), KeepMS: 3_600_000, AckWaitMS: 10_000, NoticeMS: a.u("notice"),
	}
}

func (a args) shown() leasing.Shown {
	return leasing.Shown{
		Started: a.has("started"), AckedMS: a.u("acked"), Claimed: a.has("claimed"),
		ClaimEnd: a.u("claim-end"), ByPayer: a.has("payer"),
	}
}

func (a args) event(word string) leasing.Event {
	elapsed, now := a.u("elapsed"), a.now()
	switch word {
	case "promised":
		return leasing.Promised{Likely: !a.has("fallback")}
	case "lapsed":
		return leasing.Lapsed{}
	case "opened":
		return leasing.Opened{}
	case "prepared":
		return leasing.Prepared{Now: now}
	case "prepare-failed":
		return leasing.PrepareFailed{Reason: lease.ReasonBadManifest, Text: "not a wasm file", Now: now}
	case "acked":
		r := leasing.Receipt{Sequence: a.u("seq"), ElapsedMS: elapsed, Final: a.has("final")}
		if r.Final {
			r.Reason = lease.ReasonCompleted
		}
		return leasing.Acked{Receipt: leasing.Signed{Receipt: r, Bytes: []byte{1}}, Now: now}
	case "away":
		return leasing.AwaySigned{UntilMS: a.u("until"), Bytes: []byte{2}, Now: now}
	case "task":
		return leasing.TaskAsked{Index: a.u("index"), Finished: a.has("finished")}
	case "no-more":
		return leasing.NoMoreTasks{Elapsed: elapsed, Now: now}
	case "finished":
		o := leasing.Outcome{Reason: "exited", Lease: lease.ReasonCompleted, Output: []byte("cid")}
		if a.has("lost") {
			o = leasing.Outcome{ExitCode: -1, Reason: "lost", Text: "gone", Lease: lease.ReasonProviderLost}
		}
		return leasing.TaskFinished{Index: a.u("index"), Outcome: o, Elapsed: elapsed, Now: now}
	case "stop":
		return leasing.StopAsked{Reason: lease.ReasonTenantStopped, Elapsed: elapsed, Now: now}
	case "notice":
		return leasing.NoticeGiven{By: int64(a.u("by")), Text: "the owner takes the machine back", Now: now}
	case "notice-lifted":
		return leasing.NoticeLifted{}
	case "tick":
		return leasing.Tick{Elapsed: elapsed, Now: now}
	case "attached":
		return leasing.Attached{Now: now}
	case "settling":
		return leasing.SettlingSeen{Shown: a.shown(), Elapsed: elapsed, Now: now, MeterNow: a.u("meter")}
	case "closed":
		return leasing.ClosedSeen{Settlement: leasing.Settlement{Denom: "umoy", Provider: a.m["paid"]}, Elapsed: elapsed, Now: now}
	case "refused":
		move := map[string]leasing.Move{"final": leasing.MoveFinal, "receipt": leasing.MoveReceipt, "claim": leasing.MoveClaim, "one-sided": leasing.MoveOneSided}[a.m["move"]]
		return leasing.Refused{Move: move, Text: "beyond the hold", Now: now}
	case "restarted":
		return leasing.Restarted{Now: now}
	case "recovered":
		return leasing.Recovered{Index: a.u("index")}
	case "never-started":
		return leasing.NeverStarted{Index: a.u("index"), Now: now}
	case "keep-over":
		return leasing.KeepOver{Now: now}
	}
	a.t.Fatalf("no such event: %s", word)
	return nil
}

func TestStepLeavesItsArgumentAlone(t *testing.T) {
	s, _ := leasing.New(leasing.Terms{TimeoutMS: 60_000, Array: true, OfflineMS: 60_000})
	for _, e := range []leasing.Event{leasing.Promised{}, leasing.Opened{}, leasing.TaskAsked{Index: 1}, leasing.TaskAsked{Index: 2}, leasing.Prepared{}} {
		before, _ := json.Marshal(s)
		next, _, err := leasing.Step(s, e)
		if err != nil {
			t.Fatal(err)
		}
		if after, _ := json.Marshal(s); string(after) != string(before) {
			t.Fatalf("%T changed its argument:\n%s\n%s", e, before, after)
		}
		s = next
	}
}

func TestIllegalTransitionsNameBothStates(t *testing.T) {
	offered, _ := leasing.New(leasing.Terms{})
	open, _, err := leasing.Step(offered, leasing.Promised{})
	if err != nil {
		t.Fatal(err)
	}
	open, _, _ = leasing.Step(open, leasing.Opened{})
	for _, c := range []struct {
		s leasing.State
		e leasing.Event
	}{
		{open, leasing.Promised{}}, {open, leasing.Lapsed{}},
		{offered, leasing.Acked{}}, {offered, leasing.AwaySigned{UntilMS: 1}}, {open, leasing.Acked{}},
	} {
		next, fx, err := leasing.Step(c.s, c.e)
		if !errors.Is(err, leasing.ErrTransition) || !strings.Contains(err.Error(), c.s.Work.String()) || !strings.Contains(err.Error(), c.s.Chain.String()) {
			t.Errorf("%T: %v", c.e, err)
		}
		if next.Work != c.s.Work || len(fx.Actions) != 0 || fx.Save {
			t.Errorf("%T: a refused event had effects", c.e)
		}
	}
}

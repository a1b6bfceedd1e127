package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
)

var ctx = context.Background()

func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(ctx, journal.Options{Path: path, ChainID: "moyai-dev-1", Node: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func sample(n byte) journal.Lease {
	s, _ := leasing.New(leasing.Terms{TimeoutMS: 1000, GraceMS: 10, MaxUnackedMS: 500})
	s, _, _ = leasing.Step(s, leasing.Promised{})
	return journal.Lease{
		ID: journal.ID{n}, OrderHash: [32]byte{n}, Slot: uint32(n), Generation: 1<<63 - 1,
		Order: []byte("order"), Bid: []byte("bid"), Manifest: []byte("manifest"), Ready: []byte("ready"), Tenant: journal.Tenant{Peer: "12D3", Addrs: []string{"/ip4/127.0.0.1/tcp/1"}},
		State: s, CreatedMS: int64(n), ChangedMS: int64(n),
	}
}

func TestLeaseSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal #1?.db") // a name that is not a URL
	j := open(t, path)
	l := sample(1)
	if err := j.Insert(ctx, l); err != nil {
		t.Fatal(err)
	}
	s, _, err := leasing.Step(l.State, leasing.Opened{})
	if err != nil {
		t.Fatal(err)
	}
	done := &leasing.Finished{Index: 1<<63 - 1, Outcome: leasing.Outcome{ExitCode: -1, Reason: "trap", Text: "boom", Output: []byte{1}, Lease: lease.ReasonFailed}}
	if err := j.Save(ctx, l.ID, s, done, 77); err != nil {
		t.Fatal(err)
	}
	// Inserting again must not undo progress: Ready is sent again after a crash.
	if err := j.Insert(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	live, err := j.Live(ctx)
	if err != nil || len(live) != 1 {
		t.Fatalf("%d leases, %v", len(live), err)
	}
	want := l
	want.State, want.ChangedMS = s, 77
	if !reflect.DeepEqual(live[0], want) {
		t.Fatalf("got  %+v\nwant %+v", live[0], want)
	}
	tasks, err := j.Tasks(ctx, l.ID)
	if err != nil || len(tasks) != 1 || !reflect.DeepEqual(tasks[0], *done) {
		t.Fatalf("tasks %+v, %v", tasks, err)
	}
	if o, err := j.Task(ctx, l.ID, done.Index); err != nil || o.Text != "boom" {
		t.Fatalf("task %+v, %v", o, err)
	}
	if _, err := j.Task(ctx, l.ID, 5); !errors.Is(err, journal.ErrNotFound) {
		t.Fatalf("missing task: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the file is elsewhere: %v", err)
	}
}

func TestSaveOfAnUnknownLeaseFailsAlone(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	if err := j.Save(ctx, journal.ID{9}, leasing.State{}, nil, 1); !errors.Is(err, journal.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	if err := j.Insert(ctx, sample(1)); err != nil {
		t.Fatal(err)
	}
}

func TestEarningsAreBookedOnceAndOutliveTheLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	for n := byte(1); n <= 3; n++ {
		l := sample(n)
		if err := j.Insert(ctx, l); err != nil {
			t.Fatal(err)
		}
		l.State.Settlement = &leasing.Settlement{Denom: "umoy", BilledMS: 1000, Provider: "18446744073709551616"}
		l.State.Work, l.State.Chain = leasing.WorkForgotten, leasing.ChainClosed
		for range 2 {
			if err := j.Save(ctx, l.ID, l.State, nil, 50); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Prune(ctx, 51); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		totals := j.Totals()
		if len(totals) != 1 || totals[0].Leases != 3 || totals[0].BilledMS != 3000 || totals[0].Provider.String() != "55340232221128654848" {
			t.Fatalf("totals %+v", totals)
		}
	}
	check()
	if live, _ := j.Live(ctx); len(live) != 0 {
		t.Fatalf("%d live leases", len(live))
	}
	if recent, _ := j.Recent(ctx, 10); len(recent) != 0 {
		t.Fatalf("%d leases survived pruning", len(recent))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	check()
}

// TestTotalsOfManyAtOnce: leases that are settled together are all in the sum.
func TestTotalsOfManyAtOnce(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	const rounds, together = 20, 10
	for r := range rounds {
		var wg sync.WaitGroup
		for i := range together {
			l := sample(byte(1 + r*together + i))
			if err := j.Insert(ctx, l); err != nil {
				t.Fatal(err)
			}
			l.State.Settlement = &leasing.Settlement{Denom: "umoy", BilledMS: 1, Provider: "1"}
			wg.Go(func() {
				if err := j.Save(ctx, l.ID, l.State, nil, 50); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, want := j.Totals(), uint64((r+1)*together); len(got) != 1 || got[0].Leases != want || got[0].BilledMS != want {
			t.Fatalf("after %d leases: %+v", want, got)
		}
	}
}

func TestGenerationsOnlyGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	want := []struct{ atLeast, generation uint64 }{{0, 1}, {0, 2}, {1, 3}, {40, 40}, {0, 41}}
	for _, w := range want {
		g, err := j.Advance(ctx, 7, w.atLeast)
		if err != nil || g != w.generation {
			t.Fatalf("Advance(%d) = %d, %v; want %d", w.atLeast, g, err, w.generation)
		}
	}
	_ = j.Close()
	j = open(t, path)
	if gs, err := j.Generations(ctx); err != nil || len(gs) != 1 || gs[7] != 41 {
		t.Fatalf("generations %v, %v", gs, err)
	}
}

func TestConcurrentWritersShareCommits(t *testing.T) {
	var commits atomic.Uint64
	j, err := journal.Open(ctx, journal.Options{
		Path: filepath.Join(t.TempDir(), "j.db"), ChainID: "c", Node: []byte{1},
		Commit: func(_ uint64, done bool) {
			if done {
				commits.Add(1)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	const writers, each = 32, 10
	var wg sync.WaitGroup
	seen := make([][]uint64, writers)
	for w := range writers {
		wg.Go(func() {
			for range each {
				g, err := j.Advance(ctx, 0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				seen[w] = append(seen[w], g)
			}
		})
	}
	wg.Wait()
	unique := map[uint64]bool{}
	for _, gs := range seen {
		for _, g := range gs {
			unique[g] = true
		}
	}
	if len(unique) != writers*each {
		t.Fatalf("%d distinct generations of %d", len(unique), writers*each)
	}
	if n := commits.Load(); n >= writers*each {
		t.Fatalf("%d commits for %d writes: nothing was shared", n, writers*each)
	}
}

func TestRefusesForeignAndNewerFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	_ = open(t, path).Close()
	if _, err := journal.Open(ctx, journal.Options{Path: path, ChainID: "moyai-1", Node: make([]byte, 32)}); !errors.Is(err, journal.ErrForeign) {
		t.Fatalf("another chain: %v", err)
	}
	if _, err := journal.Open(ctx, journal.Options{Path: path, ChainID: "moyai-dev-1", Node: make([]byte, 31)}); !errors.Is(err, journal.ErrForeign) {
		t.Fatalf("another node: %v", err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`PRAGMA user_version = 999`); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, err := journal.Open(ctx, journal.Options{Path: path, ChainID: "moyai-dev-1", Node: make([]byte, 32)}); !errors.Is(err, journal.ErrNewer) {
		t.Fatalf("newer schema: %v", err)
	}
}

func TestDurabilitySettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	mode, sync := j.Pragmas(ctx)
	if mode != "wal" || sync != 2 {
		t.Fatalf("journal_mode=%s synchronous=%d, want wal and 2 (FULL)", mode, sync)
	}
}

func TestHeightAndAlerts(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	if h, err := j.Height(ctx); err != nil || h != 0 {
		t.Fatalf("height %d, %v", h, err)
	}
	for _, h := range []int64{5, 6} {
		if err := j.SetHeight(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	if h, err := j.Height(ctx); err != nil || h != 6 {
		t.Fatalf("height %d, %v", h, err)
	}
	for range 3 {
		if err := j.Raise(ctx, journal.Alert{ID: "gas", Severity: "error", Text: "fund it", SinceMS: 9}); err != nil {
			t.Fatal(err)
		}
	}
	as, err := j.Alerts(ctx)
	if err != nil || len(as) != 1 || as[0].Count != 3 || as[0].SinceMS != 9 {
		t.Fatalf("alerts %+v, %v", as, err)
	}
	if err := j.Dismiss(ctx, "gas"); err != nil {
		t.Fatal(err)
	}
	if err := j.Dismiss(ctx, "gas"); !errors.Is(err, journal.ErrNotFound) {
		t.Fatalf("second dismissal: %v", err)
	}
}

func TestClosedJournalSaysSo(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	_ = j.Close()
	if err := j.SetHeight(ctx, 1); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no-such-folder", "j.db")
	_, err := journal.Open(ctx, journal.Options{Path: path})
	if err == nil || !containsPath(err, path) {
		t.Fatalf("got %v", err)
	}
}

func containsPath(err error, path string) bool {
	return len(err.Error()) > len(path) && fmt.Sprint(err)[:len("open journal "+path)] == "open journal "+path
}

// What happened is kept in order, within a bound for each chapter, and goes with its
// lease.
func TestNotes(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	l := sample(1)
	if err := j.Insert(ctx, l); err != nil {
		t.Fatal(err)
	}
	story := leasing.Note{Chapter: leasing.ChapterLease, Kind: "opened", Text: "it opened"}
	s, _, err := leasing.Step(l.State, leasing.Opened{})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Save(ctx, l.ID, s, nil, 5, story); err != nil {
		t.Fatal(err)
	}
	for i := range journal.MaxNotes + 10 {
		if err := j.AddNotes(ctx, l.ID, 6, leasing.Note{Chapter: leasing.ChapterSession, Kind: "exec", Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	notes, err := j.Notes(ctx, l.ID, 0)
	if err != nil || len(notes) != 1+journal.MaxNotes {
		t.Fatalf("%d notes, %v", len(notes), err)
	}
	if n := notes[0]; n.Note != story || n.AtMS != 5 {
		t.Errorf("the first is %+v", n)
	}
	if first, last := notes[1].Text, notes[len(notes)-1].Text; first != "10" || last != fmt.Sprint(journal.MaxNotes+9) {
		t.Errorf("sessions from %s to %s", first, last)
	}
	if later, err := j.Notes(ctx, l.ID, notes[len(notes)-2].Seq); err != nil || len(later) != 1 {
		t.Errorf("%d notes after the last but one, %v", len(later), err)
	}
	// A lease that is not there has none, and that is no error.
	if err := j.AddNotes(ctx, journal.ID{9}, 1, story); err != nil {
		t.Error(err)
	}
	if err := j.Prune(ctx, 1<<62); err != nil {
		t.Fatal(err)
	}
	if notes, err := j.Notes(ctx, l.ID, 0); err != nil || len(notes) == 0 {
		t.Errorf("a live lease has %d notes, %v", len(notes), err)
	}
	gone := s
	gone.Work, gone.Chain = leasing.WorkForgotten, leasing.ChainClosed
	if err := errors.Join(j.Save(ctx, l.ID, gone, nil, 7), j.Prune(ctx, 1<<62)); err != nil {
		t.Fatal(err)
	}
	if notes, err := j.Notes(ctx, l.ID, 0); err != nil || len(notes) != 0 {
		t.Errorf("a pruned lease has %d notes, %v", len(notes), err)
	}
}

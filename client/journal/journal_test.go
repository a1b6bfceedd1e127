package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func open(t *testing.T, home string) *Journal {
	t.Helper()
	j, err := Open(context.Background(), home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLeaseSurvivesReopening walks an order through its states and reads every
// field back from a second handle, as another process would.
func TestLeaseSurvivesReopening(t *testing.T) {
	ctx, home := context.Background(), t.TempDir()
	j := open(t, home)
	at := time.UnixMilli(1_700_000_000_123)
	job, order, lease := fill(1, 16), fill(2, 32), fill(3, 20)
	must(t, j.AddJob(ctx, Job{ID: job, Created: at, Spec: json.RawMessage(`{"a":1}`), Manifest: []byte("m")}))
	c := Candidate{LeaseID: lease, Provider: "moyai1p", Moniker: "p", Node: fill(4, 32), Addrs: []string{"/ip4/1.2.3.4/tcp/1"}, Rate: "55", GraceMS: 7}
	must(t, j.AddOpening(ctx, []Lease{{
		OrderHash: order, Job: job, Created: at, SignedOrder: []byte("so"), ReceiptSeed: fill(9, 32), Candidates: []Candidate{c},
	}}))
	must(t, j.SetOpen(ctx, order, c, "TX", at))
	must(t, j.SetStarted(ctx, order, []byte("r0"), at))
	must(t, j.SetReceipt(ctx, order, []byte("r1")))
	must(t, j.SetAway(ctx, order, []byte("aw")))

	got, err := open(t, home).LeaseByID(ctx, lease)
	must(t, err)
	want := Lease{OrderHash: order, Job: job, LeaseID: lease, State: StateOpen, Created: at, SignedOrder: []byte("so"),
		ReceiptSeed: fill(9, 32), Candidates: []Candidate{c}, Candidate: c, OpenTx: "TX", Opened: at, Started: at,
		Receipt: []byte("r1"), Away: []byte("aw")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back\n%+v, want\n%+v", got, want)
	}
	must(t, j.SetEnd(ctx, order, StateClosed, "completed"))
	all, err := j.Leases(ctx, job)
	must(t, err)
	if len(all) != 1 || all[0].State != StateClosed || all[0].Text != "completed" {
		t.Errorf("after its end: %+v", all)
	}
	if info, err := os.Stat(filepath.Join(home, fileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("journal holds keys but has mode %v (%v)", info.Mode(), err)
	}
}

func TestFind(t *testing.T) {
	ctx := context.Background()
	j := open(t, t.TempDir())
	jobA, jobB := fill(0xa1, 16), fill(0xb1, 16)
	for _, id := range [][]byte{jobA, jobB} {
		must(t, j.AddJob(ctx, Job{ID: id, Created: time.Now(), Spec: json.RawMessage(`{}`), Manifest: []byte{1}}))
	}
	add := func(n byte, job, lease []byte) {
		order := fill(n, 32)
		must(t, j.AddOpening(ctx, []Lease{{OrderHash: order, Job: job, Created: time.Now(), SignedOrder: []byte{1}, ReceiptSeed: []byte{1}}}))
		must(t, j.SetOpen(ctx, order, Candidate{LeaseID: lease}, "", time.Now()))
	}
	l1 := append([]byte{0xc1, 0x11}, fill(0, 18)...)
	l2 := append([]byte{0xc1, 0x22}, fill(0, 18)...)
	add(1, jobA, l1)
	add(2, jobA, l2)
	for _, tc := range []struct {
		text       string
		job, lease []byte
		err        error
	}{
		{"c111", jobA, l1, nil},
		{"C122", jobA, l2, nil},
		{"c1", nil, nil, ErrAmbiguous},
		{"b1", jobB, nil, nil},
		{"ff", nil, nil, ErrNone},
		{"", nil, nil, ErrNone},
		{"c1%", nil, nil, ErrNone},
	} {
		job, lease, err := j.Find(ctx, tc.text)
		if !errors.Is(err, tc.err) || (err == nil && (!bytes.Equal(job, tc.job) || !bytes.Equal(lease, tc.lease))) {
			t.Errorf("Find(%q) = %x, %x, %v; want %x, %x, %v", tc.text, job, lease, err, tc.job, tc.lease, tc.err)
		}
	}
}

func TestTasksAndFlags(t *testing.T) {
	ctx := context.Background()
	j := open(t, t.TempDir())
	id := fill(5, 16)
	must(t, j.AddJob(ctx, Job{ID: id, Created: time.Now(), Spec: json.RawMessage(`{}`), Manifest: []byte{1}}))
	for _, n := range []uint64{7, 2, 7} {
		must(t, j.SetTask(ctx, id, n, map[string]uint64{"n": n * 10}))
	}
	var seen []uint64
	must(t, j.Tasks(ctx, id, func(i uint64, raw json.RawMessage) error {
		seen = append(seen, i)
		return nil
	}))
	if !reflect.DeepEqual(seen, []uint64{2, 7}) {
		t.Errorf("tasks %v, want 2 and 7 once each", seen)
	}
	must(t, j.SetStopping(ctx, id))
	must(t, j.SetDetached(ctx, id, true))
	must(t, j.SetDone(ctx, id))
	job, err := j.JobByID(ctx, id)
	must(t, err)
	if !job.Stopping || !job.Detached || !job.Done {
		t.Errorf("flags lost: %+v", job)
	}
	if open, _ := j.Jobs(ctx, false); len(open) != 0 {
		t.Errorf("a done job is listed as open: %+v", open)
	}
	if err := j.SetDone(ctx, fill(6, 16)); !errors.Is(err, ErrNone) {
		t.Errorf("unknown job: %v, want ErrNone", err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	home := t.TempDir()
	a, b := open(t, home), open(t, home)
	id := fill(1, 16)
	lock, err := a.LockJob(id)
	must(t, err)
	if _, err := b.LockJob(id); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v, want ErrLocked", err)
	}
	lock.Unlock()
	again, err := b.LockJob(id)
	must(t, err)
	again.Unlock()
}

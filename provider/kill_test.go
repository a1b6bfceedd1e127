package provider

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/wire"
)

// The environment of a child: the folder of its world, and the journal write at
// which it must die ("12 before", "12 after", or nothing).
const (
	envWorld = "MOYAI_TEST_WORLD"
	envKill  = "MOYAI_TEST_KILL_AT"
	killed   = 77 // exit code of a child that reached its write
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envWorld); dir != "" {
		if err := child(dir, os.Getenv(envKill)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a provider with a tenant. One that is to die sees its first lease
// through; one that is not begins with whatever the world has left open and goes
// on to the second, which shows what generation is bid after a crash.
func child(dir, killAt string) error {
	at, when, _ := strings.Cut(killAt, " ")
	enough := 2
	if at != "" {
		enough = 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	w, err := openWorld(filepath.Join(dir, "world.json"))
	if err != nil {
		return err
	}
	h, err := newHarnessOver(w, dir, harnessOptions{commit: func(n uint64, done bool) {
		if at != "" && strconv.FormatUint(n, 10) == at && done == (when == "after") {
			// Like kill -9 for the provider: nothing is flushed, nobody is told. The
			// world is not killed in the middle of a change.
			w.change(func() { os.Exit(killed) })
		}
	}})
	if err != nil {
		return err
	}
	defer h.close()
	for {
		open, closed := "", 0
		for id, l := range h.w.leases() {
			if l.Lease.State == lease.StateClosed {
				closed++
			} else {
				open = id
			}
		}
		if open == "" && closed >= enough {
			break
		}
		if open == "" {
			if open, err = h.another(ctx); errors.Is(err, lease.ErrBidExpired) {
				continue // a busy machine; the tenant asks again
			} else if err != nil {
				return err
			}
		}
		if err := h.seeThrough(ctx, open); err != nil {
			return err
		}
	}
	return eventually(ctx, "the journal is done with every lease", func() bool {
		rows, err := h.desk.journal.Live(ctx)
		return err == nil && len(rows) == 0
	})
}

// another rents once more. The order's number is on disk first: a tenant whose
// order came to nothing signs a new one.
func (h *harness) another(ctx context.Context) (string, error) {
	var n uint64
	h.w.change(func() { h.w.Orders++; n = h.w.Orders })
	_, _, id, err := h.rent(ctx, n, false)
	return hex.EncodeToString(id[:]), err
}

// seeThrough attaches to an open lease and waits for its end.
func (h *harness) seeThrough(ctx context.Context, id string) error {
	l := h.w.leases()[id]
	order, err := wire.OpenBody[wire.Order](testChain, l.Order)
	if err != nil {
		return err
	}
	seed := make([]byte, 32)
	seed[0], seed[1] = order.Value.Nonce[0], 1
	key, err := wire.NewEd25519Signer(seed)
	if err != nil {
		return err
	}
	raw, _ := hex.DecodeString(id)
	t := newTenant(h.w, key, id)
	defer t.Close()
	if err := h.attach(ctx, t, order.Digest, [20]byte(raw)); err != nil {
		return err
	}
	return eventually(ctx, "lease "+id+" closes", func() bool {
		t.mu.Lock()
		refused := t.refused
		t.mu.Unlock()
		if refused != nil && h.w.leases()[id].Lease.State == lease.StateOpen {
			panic("the provider lost an open lease: " + refused.Refusal.String())
		}
		return h.w.leases()[id].Lease.State == lease.StateClosed
	})
}

// TestKilledAtEveryJournalWrite kills the provider before and after each of its
// journal writes, starts it again, and looks at what the world has seen: no lease
// lost, none billed for two starts, no slot generation used twice.
func TestKilledAtEveryJournalWrite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(dir, kill string) (code int, out string) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), envWorld+"="+dir, envKill+"="+kill)
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(b)
	}
	reached := 0
	for n := 0; ; n++ {
		over := true
		for _, when := range []string{"before", "after"} {
			kill := fmt.Sprintf("%d %s", n, when)
			dir := t.TempDir()
			code, out := run(dir, kill)
			switch code {
			case killed:
				over = false
				reached++
				if code, out := run(dir, ""); code != 0 {
					t.Fatalf("killed %s write %d; started again it failed with %d:\n%s", when, n, code, out)
				}
			case 0:
			default:
				t.Fatalf("write %d: child failed with %d:\n%s", n, code, out)
			}
			judge(t, dir, kill)
		}
		if over {
			break
		}
	}
	// At least: generation, promise, open, prepared, start, finished, final, closed,
	// forgotten, and the heights.
	if reached < 2*9 {
		t.Fatalf("only %d kills: the scenario writes less than it must", reached)
	}
	t.Logf("killed %d times", reached)
}

// judge reads what is left and checks the promises.
func judge(t *testing.T, dir, kill string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "world.json"))
	if err != nil {
		t.Fatal(err)
	}
	var w worldState
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	var earned amount.Amount
	for id, l := range w.Leases {
		if l.Lease.State != lease.StateClosed {
			t.Errorf("killed %s: lease %s is left %s", kill, id, l.Lease.State)
		}
		if l.Lease.Reason != lease.ReasonCompleted {
			t.Errorf("killed %s: lease %s ended with %q", kill, id, l.Lease.Reason)
		}
		if billed := l.Lease.Settlement.BilledMS; billed > l.Acked {
			t.Errorf("killed %s: lease %s bills %d ms, the tenant signed %d", kill, id, billed, l.Acked)
		}
		if earned, err = earned.Add(l.Lease.Settlement.Provider); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.Starts) != len(w.Leases) {
		t.Errorf("killed %s: %d tasks for %d leases", kill, len(w.Starts), len(w.Leases))
	}
	for task, n := range w.Starts {
		if n != 1 {
			t.Errorf("killed %s: task %s was started %d times", kill, task, n)
		}
	}
	last := map[uint32]uint64{}
	for _, bid := range w.Bids {
		if bid.LeasedBefore {
			t.Errorf("killed %s: slot %d generation %d was bid after it had been leased", kill, bid.Slot, bid.Generation)
		}
		if bid.Generation <= last[bid.Slot] {
			t.Errorf("killed %s: slot %d went from generation %d to %d", kill, bid.Slot, last[bid.Slot], bid.Generation)
		}
		last[bid.Slot] = bid.Generation
	}
	j, err := journal.Open(context.Background(), journal.Options{Path: filepath.Join(dir, "journal.db"), ChainID: testChain, Node: nodeOfTests(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	var booked amount.Amount
	for _, total := range j.Totals() {
		booked = total.Provider
	}
	if booked != earned {
		t.Errorf("killed %s: the journal books %s, the chain paid %s", kill, booked, earned)
	}
}

func nodeOfTests(t *testing.T) []byte {
	t.Helper()
	signer, err := wire.NewEd25519Signer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey()
}

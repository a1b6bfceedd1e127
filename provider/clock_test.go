package provider

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moyai-network/moyai/internal/steady"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// jumpy is a clock that a test sets.
type jumpy struct{ by atomic.Int64 }

func (c *jumpy) now() time.Time       { return steady.Now().Add(time.Duration(c.by.Load())) }
func (c *jumpy) jump(d time.Duration) { c.by.Add(int64(d)) }

// TestBillingHasNoClockThatIsSet: whatever any clock says, a lease is billed for the
// time that its work took.
func TestBillingHasNoClockThatIsSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			c := new(jumpy)
			h, ctx := start(t, harnessOptions{taskLife: 300 * time.Millisecond, keep: time.Hour, ackWait: 2 * time.Hour, clock: c.now})
			began := time.Now()
			ten, order, id := h.mustRent(t, ctx, 1, false)
			h.mustAttach(t, ctx, ten, order, id)
			must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
			c.jump(by)
			must(t, eventually(ctx, "close", closedLease(h, ten.id)))
			l := h.w.leases()[ten.id].Lease
			if l.Reason != lease.ReasonCompleted || l.Settlement.BilledMS == 0 || l.Settlement.BilledMS > uint64(time.Since(began).Milliseconds()) {
				t.Errorf("closed as %s, billed %d ms", l.Reason, l.Settlement.BilledMS)
			}
		})
	}
}

// TestWaitingGoesByTheDesksClock: what is waited for goes by one clock, which in a
// provider is steady's: here it is set, and the time for a first word is over.
func TestWaitingGoesByTheDesksClock(t *testing.T) {
	c := new(jumpy)
	h, ctx := start(t, harnessOptions{keep: time.Hour, clock: c.now})
	h.stall.cfg.Grace = time.Hour
	ten, order, id := h.mustRent(t, ctx, 1, false)
	ten.silent = true
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a start that is proposed", func() bool { return h.desk.find(id).snapshot().StartBy != 0 }))
	c.jump(2 * time.Hour)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	if l := h.w.leases()[ten.id].Lease; l.Reason != lease.ReasonNotStarted {
		t.Errorf("closed as %s", l.Reason)
	}
}

// TestNobodyReadsTheWall: a reading of the wall's clock that is compared with another,
// or kept, would be wrong by an hour some day. These may: what is signed says when.
func TestNobodyReadsTheWall(t *testing.T) {
	may := map[string]bool{"membership.go": true, "rotate.go": true, "provider.go": true}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || may[e.Name()] {
			continue
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && dated(call) {
				t.Errorf("%s: the wall's clock as a number: use the desk's now", files.Position(n.Pos()))
			}
			return true
		})
	}
}

// dated: unixMS(time.Now()…) or time.Now()….Unix…().
func dated(call *ast.CallExpr) bool {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name == "unixMS" && len(call.Args) == 1 && readsWall(call.Args[0])
	case *ast.SelectorExpr:
		return strings.HasPrefix(f.Sel.Name, "Unix") && readsWall(f.X)
	}
	return false
}

func readsWall(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if ok && s.Sel.Name == "Now" {
			x, ok := s.X.(*ast.Ident)
			found = found || ok && x.Name == "time"
		}
		return true
	})
	return found
}

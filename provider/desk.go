package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/wire"
)

// wares moves content in and out: the tenant's inputs, the results.
type wares interface {
	// Fetch puts root, of at most bytes, at dest, which must not exist, and says how
	// many are written. Nothing is left at dest on an error.
	Fetch(ctx context.Context, from journal.Tenant, scope [32]byte, root []byte, bytes uint64, dest string, progress func(written uint64)) error
	// Offer serves a file or folder to the keys of the order and returns its root.
	Offer(ctx context.Context, scope [32]byte, path string) (root []byte, bytes uint64, err error)
	// Withdraw stops serving everything of an order.
	Withdraw(scope [32]byte)
}

// counter is where moves are handed in for the chain. It keeps trying until the
// chain answered, and tells the agreement with leasing.Refused or, through the
// watcher, with what the chain then says.
type counter interface {
	Submit(a *agreement, move leasing.Move)
	Forget(id journal.ID)
}

// desk is what every agreement leans on. Its fields are set before the first
// agreement and never after.
type desk struct {
	chainID  string
	node     []byte
	signer   wire.Signer // node key
	home     string
	clock    func() time.Time // nobody sets it
	resumed  atomic.Bool      // what the journal holds is known
	journal  *journal.Journal
	slots    *slots.Table
	wares    wares
	counter  counter
	runtimes runtimes
	egress   *EgressOffer // nil: none
	gpus     *gpus
	door     *door
	seed     []byte  // of the node key: opens what is sealed to it
	pantry   *pantry // images from registries
	attic    *attic  // volumes; nil: none are taken
	log      *slog.Logger
	alert    func(id, severity, text string)

	receiptEvery  time.Duration
	prefetchBytes uint64
	prefetches    chan struct{} // semaphore: unpaid work at once
	diskFull      func() bool
	keepResults   time.Duration // the longest that anybody may ask for; zero: any

	ctx  context.Context // ends with the daemon
	wg   sync.WaitGroup  // agreements and what they started
	mu   sync.Mutex
	byID map[journal.ID]*agreement
	// byOrder finds whose keys may fetch and attach; one bid per order.
	byOrder map[[32]byte]*agreement
}

// maxPrefetches bounds unpaid preparation: strangers must not keep this machine
// busy compiling by asking.
const maxPrefetches = 4

func (d *desk) find(id journal.ID) *agreement {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID[id]
}

func (d *desk) findOrder(order [32]byte) *agreement {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byOrder[order]
}

func (d *desk) all() []*agreement {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*agreement, 0, len(d.byID))
	for _, a := range d.byID {
		out = append(out, a)
	}
	return out
}

// add makes an agreement known and starts it. False if the order already has one.
func (d *desk) add(a *agreement) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.byOrder[a.row.OrderHash]; ok || d.ctx.Err() != nil {
		return false
	}
	d.byID[a.row.ID], d.byOrder[a.row.OrderHash] = a, a
	d.wg.Go(func() { a.run(d.ctx) })
	return true
}

// end lets cancel end d.ctx and waits for whoever was counted. Cancelled under the
// lock, since add and join look at ctx and count under it: whoever comes later is
// not taken, and nobody is counted after the waiting began.
func (d *desk) end(cancel context.CancelFunc) {
	d.mu.Lock()
	cancel()
	d.mu.Unlock()
	d.wg.Wait()
}

func (d *desk) remove(a *agreement) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byID, a.row.ID)
	delete(d.byOrder, a.row.OrderHash)
}

// leaseDir is where everything of one lease lies.
func (d *desk) leaseDir(id journal.ID) string {
	return filepath.Join(d.home, "work", hex.EncodeToString(id[:]))
}

// resume takes up everything the journal holds. Slots are booked first, so that
// no bid can be made on capacity that is spoken for.
func (d *desk) resume(ctx context.Context) error {
	rows, err := d.journal.Live(ctx)
	if err != nil {
		return err
	}
	if err := d.sweep(rows); err != nil {
		return err
	}
	var agreements []*agreement
	for _, row := range rows {
		a, err := d.reopen(row)
		if err != nil {
			return fmt.Errorf("resume lease %x: %w", row.ID, err)
		}
		agreements = append(agreements, a)
	}
	if err := d.attic.reconcile(ctx, rows); err != nil {
		return err
	}
	for _, a := range agreements {
		if !d.add(a) {
			return fmt.Errorf("journal holds two leases for order %x", a.row.OrderHash)
		}
		a.post(leasing.Restarted{Now: d.now()})
	}
	d.resumed.Store(true)
	return nil
}

// sweep removes folders of leases that the journal no longer needs: a kill may
// come between the last write and the deletion.
func (d *desk) sweep(live []journal.Lease) error {
	keep := map[string]bool{}
	for _, row := range live {
		keep[filepath.Base(d.leaseDir(row.ID))] = true
	}
	work := filepath.Dir(d.leaseDir(journal.ID{}))
	entries, err := os.ReadDir(work)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(work, e.Name())); err != nil {
			d.log.Warn("an old lease folder cannot be removed", "err", err)
		}
	}
	return nil
}

func (d *desk) reopen(row journal.Lease) (*agreement, error) {
	a, err := newAgreement(d, row)
	if err != nil {
		return nil, err
	}
	s := row.State
	pair := slots.Pair{Slot: row.Slot, Generation: row.Generation}
	if s.Chain == leasing.ChainNone || s.NeedsSlot() || s.Chain == leasing.ChainOpen {
		if err := d.slots.Restore(pair, row.ID, string(a.order.Payer), quantities(a.order.Quantities), s.Chain != leasing.ChainNone); err != nil {
			return nil, err
		}
	}
	if !s.NeedsSlot() {
		d.slots.Free(row.ID) // still OPEN on chain: only the number stays taken
	} else if err := d.gpus.restore(row.ID, d.leaseDir(row.ID)); err != nil {
		return nil, err
	}
	return a, a.loadTasks()
}

func unixMS(t time.Time) int64 { return t.UnixMilli() }

// now is what everything that is waited for goes by, unix ms: a wall's clock that is
// set forwards would end leases that nobody is late for, or delete results too soon.
func (d *desk) now() int64 { return unixMS(d.clock()) }

func quantities(qs []wire.Quantity) slots.Quantity {
	out := slots.Quantity{}
	for _, q := range qs {
		out[q.Dimension] = q.Amount
	}
	return out
}

// generations makes the next generation of a slot: above what the journal has
// and, asked once per slot and run, above what the chain has. A home restored
// from a backup would otherwise bid what was used since.
func (d *desk) generations(l ledger) slots.Advance {
	const patience = 5 * time.Second
	asked := map[uint32]bool{} // the table's lock guards it
	return func(slot uint32) (uint64, error) {
		var least uint64
		if !asked[slot] {
			ctx, cancel := context.WithTimeout(d.ctx, patience)
			defer cancel()
			last, err := l.Generation(ctx, d.node, slot)
			if err != nil {
				return 0, fmt.Errorf("last generation of slot %d: %w", slot, err)
			}
			asked[slot], least = true, last+1
		}
		return d.journal.Advance(d.ctx, slot, least)
	}
}

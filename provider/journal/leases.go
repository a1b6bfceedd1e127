package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider/leasing"
)

// ID is a lease's id.
type ID = [20]byte

// Lease is a row: the signed objects, which never change, and the state.
type Lease struct {
	ID         ID
	OrderHash  [32]byte
	Slot       uint32
	Generation uint64
	Order      []byte // body of the order
	Bid        []byte // signed
	Manifest   []byte
	Ready      []byte // signed
	Tenant     Tenant
	State      leasing.State
	CreatedMS  int64 // unix ms
	ChangedMS  int64
}

// Tenant is where the module and the inputs are fetched from.
type Tenant struct {
	Peer  string   `json:"peer"` // libp2p peer id, base58
	Addrs []string `json:"addrs"`
}

// Insert stores a lease that was just promised. It must return before Ready is
// sent. A lease that is there already is left as it is.
func (j *Journal) Insert(ctx context.Context, l Lease) error {
	state, err := json.Marshal(l.State)
	if err != nil {
		return err
	}
	tenant, err := json.Marshal(l.Tenant)
	if err != nil {
		return err
	}
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO leases
			(id, order_hash, slot, generation, order_obj, bid, manifest, ready, tenant, work, chain, state, created_ms, changed_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			l.ID[:], l.OrderHash[:], l.Slot, int64(l.Generation), l.Order, l.Bid, l.Manifest, l.Ready, string(tenant),
			l.State.Work, l.State.Chain, string(state), l.CreatedMS, l.CreatedMS)
		return err
	})
}

// Save stores a lease's new state and, if a task ended, its outcome; and the
// earnings, the first time the state has a settlement; and what is worth telling of
// it. nowMS is unix ms. ErrNotFound if the lease was never inserted.
func (j *Journal) Save(ctx context.Context, id ID, s leasing.State, done *leasing.Finished, nowMS int64, story ...leasing.Note) error {
	state, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var outcome []byte
	if done != nil {
		if outcome, err = json.Marshal(done.Outcome); err != nil {
			return err
		}
	}
	var total *Total
	err = j.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`UPDATE leases SET work = ?, chain = ?, state = ?, changed_ms = ?, done = ? WHERE id = ?`,
			s.Work, s.Chain, string(state), nowMS, s.Done(), id[:])
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("lease %x: %w", id, ErrNotFound), err)
		}
		if done != nil {
			// An index ends once; a repeated event must not rewrite what was told.
			_, err := tx.Exec(`INSERT INTO tasks (lease, idx, outcome) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
				id[:], int64(done.Index), string(outcome))
			if err != nil {
				return err
			}
		}
		total = nil
		if s.Settlement != nil {
			if total, err = earn(tx, id, *s.Settlement, nowMS); err != nil {
				return err
			}
		}
		return addNotes(tx, id, nowMS, story)
	})
	if err == nil && total != nil {
		j.mu.Lock()
		// Of two that were written at once, either may come here first.
		if total.Leases > j.totals[total.Denom].Leases {
			j.totals[total.Denom] = *total
		}
		j.mu.Unlock()
	}
	return err
}

// earn books a settlement once and returns the new total, nil if it was booked.
func earn(tx *sql.Tx, id ID, s leasing.Settlement, nowMS int64) (*Total, error) {
	paid, err := amount.Parse(s.Provider)
	if err != nil {
		return nil, fmt.Errorf("settlement of %x: %w", id, err)
	}
	res, err := tx.Exec(`INSERT INTO earned (lease, denom, billed_ms, provider, closed_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		id[:], s.Denom, int64(s.BilledMS), s.Provider, nowMS)
	if err != nil {
		return nil, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return nil, err
	}
	t := Total{Denom: s.Denom}
	var sum string
	err = tx.QueryRow(`SELECT leases, billed_ms, provider FROM totals WHERE denom = ?`, s.Denom).Scan(&t.Leases, &t.BilledMS, &sum)
	if err == nil {
		t.Provider, err = amount.Parse(sum)
	} else if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	t.Leases++
	t.BilledMS += s.BilledMS
	if t.Provider, err = t.Provider.Add(paid); err != nil {
		return nil, err
	}
	_, err = tx.Exec(`INSERT INTO totals (denom, leases, billed_ms, provider) VALUES (?, ?, ?, ?)
		ON CONFLICT (denom) DO UPDATE SET leases = excluded.leases, billed_ms = excluded.billed_ms, provider = excluded.provider`,
		t.Denom, int64(t.Leases), int64(t.BilledMS), t.Provider.String())
	return &t, err
}

const leaseColumns = `id, order_hash, slot, generation, order_obj, bid, manifest, ready, tenant, state, created_ms, changed_ms`

// Live returns every lease that still needs something done, oldest first.
func (j *Journal) Live(ctx context.Context) ([]Lease, error) {
	return j.leases(ctx, `SELECT `+leaseColumns+` FROM leases WHERE done = 0 ORDER BY created_ms, id`)
}

// Recent returns the last leases that are over, newest first.
func (j *Journal) Recent(ctx context.Context, limit int) ([]Lease, error) {
	return j.leases(ctx, `SELECT `+leaseColumns+` FROM leases WHERE done = 1 ORDER BY created_ms DESC, id LIMIT ?`, limit)
}

// Find returns one lease. ErrNotFound.
func (j *Journal) Find(ctx context.Context, id ID) (Lease, error) {
	ls, err := j.leases(ctx, `SELECT `+leaseColumns+` FROM leases WHERE id = ?`, id[:])
	if err != nil {
		return Lease{}, err
	}
	if len(ls) == 0 {
		return Lease{}, fmt.Errorf("lease %x: %w", id, ErrNotFound)
	}
	return ls[0], nil
}

func (j *Journal) leases(ctx context.Context, query string, args ...any) ([]Lease, error) {
	rows, err := j.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Lease
	for rows.Next() {
		var l Lease
		var id, hash []byte
		var generation int64
		var state, tenant string
		if err := rows.Scan(&id, &hash, &l.Slot, &generation, &l.Order, &l.Bid, &l.Manifest, &l.Ready, &tenant, &state, &l.CreatedMS, &l.ChangedMS); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		if len(id) != len(l.ID) || len(hash) != len(l.OrderHash) {
			return nil, fmt.Errorf("read journal: lease %x is damaged", id)
		}
		copy(l.ID[:], id)
		copy(l.OrderHash[:], hash)
		l.Generation = uint64(generation)
		if err := json.Unmarshal([]byte(state), &l.State); err != nil {
			return nil, fmt.Errorf("read journal: state of lease %x: %w", id, err)
		}
		if err := json.Unmarshal([]byte(tenant), &l.Tenant); err != nil {
			return nil, fmt.Errorf("read journal: tenant of lease %x: %w", id, err)
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// Task returns how an index ended. ErrNotFound if it has not.
func (j *Journal) Task(ctx context.Context, id ID, index uint64) (leasing.Outcome, error) {
	var text string
	var o leasing.Outcome
	err := j.read.QueryRowContext(ctx, `SELECT outcome FROM tasks WHERE lease = ? AND idx = ?`, id[:], int64(index)).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return o, fmt.Errorf("task %d of lease %x: %w", index, id, ErrNotFound)
	}
	if err != nil {
		return o, fmt.Errorf("read journal: %w", err)
	}
	return o, json.Unmarshal([]byte(text), &o)
}

// Tasks returns how every index that ended did, by index.
func (j *Journal) Tasks(ctx context.Context, id ID) ([]leasing.Finished, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT idx, outcome FROM tasks WHERE lease = ? ORDER BY idx`, id[:])
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []leasing.Finished
	for rows.Next() {
		var index int64
		var text string
		if err := rows.Scan(&index, &text); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		f := leasing.Finished{Index: uint64(index)}
		if err := json.Unmarshal([]byte(text), &f.Outcome); err != nil {
			return nil, fmt.Errorf("read journal: task %d of lease %x: %w", index, id, err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// Prune removes rows of leases that were over before unix ms. Earnings stay.
func (j *Journal) Prune(ctx context.Context, beforeMS int64) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM leases WHERE done = 1 AND changed_ms < ?`, beforeMS)
		return err
	})
}

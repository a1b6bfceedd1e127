package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sort"
	"strconv"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Advance makes the next generation of a slot and returns it once it is on disk:
// no bid may name a generation before. atLeast is a lower bound, from the chain:
// a home restored from a backup would otherwise bid what was used since.
func (j *Journal) Advance(ctx context.Context, slot uint32, atLeast uint64) (uint64, error) {
	var next int64
	err := j.update(ctx, func(tx *sql.Tx) error {
		return tx.QueryRow(`INSERT INTO slots (slot, generation) VALUES (?, max(1, ?))
			ON CONFLICT (slot) DO UPDATE SET generation = max(generation + 1, excluded.generation)
			RETURNING generation`, slot, int64(atLeast)).Scan(&next)
	})
	if err != nil {
		return 0, fmt.Errorf("generation of slot %d: %w", slot, err)
	}
	return uint64(next), nil
}

// Generations returns the last generation of every slot ever used.
func (j *Journal) Generations(ctx context.Context) (map[uint32]uint64, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT slot, generation FROM slots`)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := map[uint32]uint64{}
	for rows.Next() {
		var slot uint32
		var generation int64
		if err := rows.Scan(&slot, &generation); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		out[slot] = uint64(generation)
	}
	return out, rows.Err()
}

// Height is the last block whose events were handled; 0 for a new journal.
func (j *Journal) Height(ctx context.Context) (int64, error) {
	var text string
	err := j.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'height'`).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read journal: %w", err)
	}
	return strconv.ParseInt(text, 10, 64)
}

// SetHeight remembers that the events up to a block were handled.
func (j *Journal) SetHeight(ctx context.Context, height int64) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES ('height', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, strconv.FormatInt(height, 10))
		return err
	})
}

// Totals are the sums over every lease ever paid, by denomination.
func (j *Journal) Totals() []Total {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Total, 0, len(j.totals))
	for _, t := range j.totals {
		out = append(out, t)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Denom < out[b].Denom })
	return out
}

func (j *Journal) loadTotals(ctx context.Context) (map[string]Total, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT denom, leases, billed_ms, provider FROM totals`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]Total{}
	for rows.Next() {
		var t Total
		var sum string
		if err := rows.Scan(&t.Denom, &t.Leases, &t.BilledMS, &sum); err != nil {
			return nil, err
		}
		if t.Provider, err = amount.Parse(sum); err != nil {
			return nil, err
		}
		out[t.Denom] = t
	}
	return out, rows.Err()
}

// Alert is something an operator should act on.
type Alert struct {
	ID, Severity, Text string
	SinceMS            int64
	Count              uint64
}

// Raise stores an alert, or counts it once more if it is there.
func (j *Journal) Raise(ctx context.Context, a Alert) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO alerts (id, severity, text, since_ms, count) VALUES (?, ?, ?, ?, 1)
			ON CONFLICT (id) DO UPDATE SET count = count + 1, text = excluded.text, severity = excluded.severity`,
			a.ID, a.Severity, a.Text, a.SinceMS)
		return err
	})
}

// Dismiss removes an alert. ErrNotFound if there is none of that id.
func (j *Journal) Dismiss(ctx context.Context, id string) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM alerts WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("alert %q: %w", id, ErrNotFound), err)
		}
		return nil
	})
}

// Alerts returns what stands, oldest first.
func (j *Journal) Alerts(ctx context.Context) ([]Alert, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT id, severity, text, since_ms, count FROM alerts ORDER BY since_ms, id`)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Alert
	for rows.Next() {
		var a Alert
		if err := rows.Scan(&a.ID, &a.Severity, &a.Text, &a.SinceMS, &a.Count); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

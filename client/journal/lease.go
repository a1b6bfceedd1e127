package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State is how far an order has come.
type State int

// The states of an order's row. An order that nobody bid on has none.
const (
	StateOpening State = iota + 1 // candidates are on their way to the chain: a lease may exist
	StateOpen                     // the lease exists
	StateClosed                   // the lease is settled, as far as we are concerned
	StateRefused                  // no lease came of it
)

// String is the state for people.
func (s State) String() string {
	switch s {
	case StateOpening:
		return "opening"
	case StateOpen:
		return "open"
	case StateClosed:
		return "closed"
	case StateRefused:
		return "refused"
	}
	return "unknown"
}

// Candidate is one bid sent to the chain: enough to find the provider again if
// we never hear which was opened.
type Candidate struct {
	LeaseID  []byte   `json:"lease_id"`
	Provider string   `json:"provider"`
	Moniker  string   `json:"moniker"`
	Node     []byte   `json:"node"`
	Addrs    []string `json:"addrs"`
	Rate     string   `json:"rate"`
	GraceMS  uint64   `json:"grace_ms"`
}

// Lease is one order and what became of it.
type Lease struct {
	OrderHash   []byte
	Job         []byte
	LeaseID     []byte // nil until opened
	State       State
	Created     time.Time
	SignedOrder []byte
	ReceiptSeed []byte
	Candidates  []Candidate
	Candidate   // the one that was opened; zero before
	OpenTx      string
	Opened      time.Time
	Started     time.Time
	Receipt     []byte
	Away        []byte
	Text        string
	Isolation   string // the tier that its provider says it runs at
}

// AddOpening writes what one transaction is about to send to the chain: orders
// with their receipt keys and candidates. Until then no lease can come of them,
// because only their payer's transaction opens one.
func (j *Journal) AddOpening(ctx context.Context, orders []Lease) error {
	return j.tx(ctx, func(tx *sql.Tx) error {
		for _, l := range orders {
			raw, err := json.Marshal(l.Candidates)
			if err != nil {
				return fmt.Errorf("journal candidates: %w", err)
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO leases (order_hash, job, state, created, signed_order, receipt_seed, candidates)
				VALUES (?,?,?,?,?,?,?)`, l.OrderHash, l.Job, StateOpening, unixMS(l.Created), l.SignedOrder, l.ReceiptSeed, raw)
			if err != nil {
				return fmt.Errorf("journal opening: %w", err)
			}
		}
		return nil
	})
}

// SetOpen writes which candidate became a lease.
func (j *Journal) SetOpen(ctx context.Context, orderHash []byte, c Candidate, tx string, at time.Time) error {
	addrs, err := json.Marshal(c.Addrs)
	if err != nil {
		return fmt.Errorf("journal addresses: %w", err)
	}
	return j.exec(ctx, "open", `UPDATE leases SET state = ?, lease_id = ?, provider = ?, moniker = ?, node = ?, addrs = ?,
		rate = ?, grace_ms = ?, open_tx = ?, opened = ? WHERE order_hash = ?`,
		StateOpen, c.LeaseID, c.Provider, c.Moniker, c.Node, string(addrs), c.Rate, int64(c.GraceMS), tx, unixMS(at), orderHash)
}

// SetAddrs writes where a provider was found last.
func (j *Journal) SetAddrs(ctx context.Context, orderHash []byte, addrs []string) error {
	raw, err := json.Marshal(addrs)
	if err != nil {
		return fmt.Errorf("journal addresses: %w", err)
	}
	return j.exec(ctx, "addresses", `UPDATE leases SET addrs = ? WHERE order_hash = ?`, string(raw), orderHash)
}

// SetEnd writes StateClosed or StateRefused, and why.
func (j *Journal) SetEnd(ctx context.Context, orderHash []byte, state State, text string) error {
	return j.exec(ctx, "end", `UPDATE leases SET state = ?, text = ? WHERE order_hash = ?`, state, text, orderHash)
}

// SetReceipt writes a receipt before its countersignature is given away: showing
// the chain an older one later would cost us the difference twice.
func (j *Journal) SetReceipt(ctx context.Context, orderHash, receipt []byte) error {
	return j.exec(ctx, "receipt", `UPDATE leases SET receipt = ? WHERE order_hash = ?`, receipt, orderHash)
}

// SetStarted writes the start receipt and when we acknowledged it.
func (j *Journal) SetStarted(ctx context.Context, orderHash, receipt []byte, at time.Time) error {
	return j.exec(ctx, "start", `UPDATE leases SET receipt = ?, started = ? WHERE order_hash = ?`, receipt, unixMS(at), orderHash)
}

// SetAway writes a signed wire.Away before it is given away.
func (j *Journal) SetAway(ctx context.Context, orderHash, away []byte) error {
	return j.exec(ctx, "away", `UPDATE leases SET away = ? WHERE order_hash = ?`, away, orderHash)
}

// SetIsolation writes the tier that the work runs at.
func (j *Journal) SetIsolation(ctx context.Context, orderHash []byte, tier string) error {
	return j.exec(ctx, "isolation", `UPDATE leases SET isolation = ? WHERE order_hash = ?`, tier, orderHash)
}

const leaseColumns = `order_hash, job, lease_id, state, created, signed_order, receipt_seed, candidates, provider, moniker,
	node, addrs, rate, grace_ms, open_tx, opened, started, receipt, away, text, isolation`

func scanLease(row interface{ Scan(...any) error }) (Lease, error) {
	var l Lease
	var created, opened, started, grace int64
	var candidates []byte
	var addrs string
	err := row.Scan(&l.OrderHash, &l.Job, &l.LeaseID, &l.State, &created, &l.SignedOrder, &l.ReceiptSeed, &candidates,
		&l.Provider, &l.Moniker, &l.Node, &addrs, &l.Rate, &grace, &l.OpenTx, &opened, &started, &l.Receipt, &l.Away, &l.Text, &l.Isolation)
	if err != nil {
		return Lease{}, err
	}
	l.Created, l.Opened, l.Started = fromMS(created), fromMS(opened), fromMS(started)
	l.GraceMS, l.Candidate.LeaseID = uint64(grace), l.LeaseID
	if len(candidates) > 0 {
		if err := json.Unmarshal(candidates, &l.Candidates); err != nil {
			return Lease{}, fmt.Errorf("candidates: %w", err)
		}
	}
	if addrs != "" {
		if err := json.Unmarshal([]byte(addrs), &l.Addrs); err != nil {
			return Lease{}, fmt.Errorf("addresses: %w", err)
		}
	}
	return l, nil
}

// LeaseByID returns the row of a lease, or ErrNone.
func (j *Journal) LeaseByID(ctx context.Context, id []byte) (Lease, error) {
	l, err := scanLease(j.db.QueryRowContext(ctx, `SELECT `+leaseColumns+` FROM leases WHERE lease_id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Lease{}, fmt.Errorf("lease %x: %w", id, ErrNone)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("journal: %w", err)
	}
	return l, nil
}

// Leases lists the orders of a job, or of all jobs if job is nil, newest first.
func (j *Journal) Leases(ctx context.Context, job []byte) ([]Lease, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT `+leaseColumns+` FROM leases WHERE job = ?1 OR ?1 IS NULL
		ORDER BY created DESC, order_hash`, job)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer rows.Close()
	var out []Lease
	for rows.Next() {
		l, err := scanLease(rows)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// SetSecrets stores what a tenant sealed for a lease, as it came. It goes when
// the lease's work has ended.
func (j *Journal) SetSecrets(ctx context.Context, id ID, sealed []byte) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO secrets (lease, sealed) VALUES (?, ?) ON CONFLICT (lease) DO UPDATE SET sealed = excluded.sealed`, id[:], sealed)
		return err
	})
}

// Secrets returns what was sealed for a lease. ErrNotFound.
func (j *Journal) Secrets(ctx context.Context, id ID) ([]byte, error) {
	var b []byte
	err := j.read.QueryRowContext(ctx, `SELECT sealed FROM secrets WHERE lease = ?`, id[:]).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("secrets of lease %x: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return b, nil
}

// DropSecrets forgets what was sealed for a lease.
func (j *Journal) DropSecrets(ctx context.Context, id ID) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM secrets WHERE lease = ?`, id[:])
		return err
	})
}

// Volume is a tenant's folder that outlives its leases.
type Volume struct {
	Payer      []byte // account
	Name       string
	File       string // its name in the folder of volumes
	Bytes      uint64
	Lease      ID       // the last that had it
	OrderHash  [32]byte // of that lease
	ReceiptKey []byte   // of that order: who holds it may ask for the volume
	KeepMS     uint64
	KeepUntil  int64 // unix ms; 0 while the lease has it
}

const volumeColumns = `payer, name, file, bytes, lease, order_hash, receipt_key, keep_ms, keep_until`

// SetVolume writes a volume, before its file is made.
func (j *Journal) SetVolume(ctx context.Context, v Volume) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO volumes (`+volumeColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (payer, name) DO UPDATE SET lease = excluded.lease, order_hash = excluded.order_hash,
			receipt_key = excluded.receipt_key, keep_ms = excluded.keep_ms, keep_until = excluded.keep_until`,
			v.Payer, v.Name, v.File, int64(v.Bytes), v.Lease[:], v.OrderHash[:], v.ReceiptKey, int64(v.KeepMS), v.KeepUntil)
		return err
	})
}

// DropVolume forgets a volume, before its file is removed.
func (j *Journal) DropVolume(ctx context.Context, payer []byte, name string) error {
	return j.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM volumes WHERE payer = ? AND name = ?`, payer, name)
		return err
	})
}

// Volumes returns all volumes, by payer and name.
func (j *Journal) Volumes(ctx context.Context) ([]Volume, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT `+volumeColumns+` FROM volumes ORDER BY payer, name`)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Volume
	for rows.Next() {
		var v Volume
		var size, keep int64
		var lease, order []byte
		if err := rows.Scan(&v.Payer, &v.Name, &v.File, &size, &lease, &order, &v.ReceiptKey, &keep, &v.KeepUntil); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		copy(v.Lease[:], lease)
		copy(v.OrderHash[:], order)
		v.Bytes, v.KeepMS = uint64(size), uint64(keep)
		out = append(out, v)
	}
	return out, rows.Err()
}

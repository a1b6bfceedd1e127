package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Volume is where a volume of ours is, and what gives access to it.
type Volume struct {
	Name        string
	OrderHash   []byte // the last that had it
	ReceiptSeed []byte
	Provider    string
	Moniker     string
	Node        []byte
	Addrs       []string
	Bytes       uint64
	Used        time.Time // when a lease last got it
}

// SetVolume writes where a volume is now.
func (j *Journal) SetVolume(ctx context.Context, v Volume) error {
	addrs, err := json.Marshal(v.Addrs)
	if err != nil {
		return fmt.Errorf("journal addresses: %w", err)
	}
	return j.exec(ctx, "volume", `INSERT OR REPLACE INTO volumes (name, order_hash, receipt_seed, provider, moniker, node, addrs, bytes, used)
		VALUES (?,?,?,?,?,?,?,?,?)`, v.Name, v.OrderHash, v.ReceiptSeed, v.Provider, v.Moniker, v.Node, string(addrs), int64(v.Bytes), unixMS(v.Used))
}

// DropVolume forgets a volume. ErrNone if it is not known.
func (j *Journal) DropVolume(ctx context.Context, name string) error {
	return j.exec(ctx, "volume", `DELETE FROM volumes WHERE name = ?`, name)
}

const volumeColumns = `name, order_hash, receipt_seed, provider, moniker, node, addrs, bytes, used`

func scanVolume(row interface{ Scan(...any) error }) (Volume, error) {
	var v Volume
	var addrs string
	var size, used int64
	err := row.Scan(&v.Name, &v.OrderHash, &v.ReceiptSeed, &v.Provider, &v.Moniker, &v.Node, &addrs, &size, &used)
	if err == nil {
		err = json.Unmarshal([]byte(addrs), &v.Addrs)
	}
	v.Bytes, v.Used = uint64(size), fromMS(used)
	return v, err
}

// Volume returns where a volume is, or ErrNone.
func (j *Journal) Volume(ctx context.Context, name string) (Volume, error) {
	v, err := scanVolume(j.db.QueryRowContext(ctx, `SELECT `+volumeColumns+` FROM volumes WHERE name = ?`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Volume{}, fmt.Errorf("volume %s: %w", name, ErrNone)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("journal: %w", err)
	}
	return v, nil
}

// Volumes lists all, by name.
func (j *Journal) Volumes(ctx context.Context) ([]Volume, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT `+volumeColumns+` FROM volumes ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer rows.Close()
	var out []Volume
	for rows.Next() {
		v, err := scanVolume(rows)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

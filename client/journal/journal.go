// Package journal is a tenant's memory: what it signed, what it bought, what it
// owes an answer for. Everything is written here before it is acted upon, so a
// job survives the process that started it.
//
// It is one SQLite file in WAL mode rather than a file per lease: a task's end,
// its retry and the lease it ran on change together, several processes of one
// home read it while one writes, and looking a lease up by the beginning of its
// id needs no scan. It holds no rule and no opinion about what its rows mean.
//
// The file holds receipt keys: whoever reads them can sign away the rest of the
// holds of open leases (never more), so it is created with mode 0600.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// ErrNone: no row matches.
var ErrNone = errors.New("not in the journal")

// ErrAmbiguous: more than one row matches the beginning of an id.
var ErrAmbiguous = errors.New("more than one entry matches")

const fileName = "tenant.db"

// schema is append-only: later versions add statements, never change these.
var schema = []string{
	`CREATE TABLE jobs (
		id BLOB PRIMARY KEY,          -- 16 bytes, as in the order
		created INTEGER NOT NULL,     -- unix ms
		spec BLOB NOT NULL,           -- JSON of what is needed to go on with it
		manifest BLOB NOT NULL,
		stopping INTEGER NOT NULL DEFAULT 0,
		detached INTEGER NOT NULL DEFAULT 0,
		done INTEGER NOT NULL DEFAULT 0
	) WITHOUT ROWID`,
	`CREATE TABLE leases (
		order_hash BLOB PRIMARY KEY,  -- 32 bytes; exists before there is a lease
		job BLOB NOT NULL,
		lease_id BLOB,                -- 20 bytes once opened
		state INTEGER NOT NULL,
		created INTEGER NOT NULL,     -- unix ms
		signed_order BLOB NOT NULL,
		receipt_seed BLOB NOT NULL,
		candidates BLOB,              -- JSON: what was sent to the chain to choose from
		provider TEXT NOT NULL DEFAULT '',
		moniker TEXT NOT NULL DEFAULT '',
		node BLOB,
		addrs TEXT NOT NULL DEFAULT '', -- JSON list of multiaddrs
		rate TEXT NOT NULL DEFAULT '',
		grace_ms INTEGER NOT NULL DEFAULT 0,
		open_tx TEXT NOT NULL DEFAULT '',
		opened INTEGER NOT NULL DEFAULT 0,  -- unix ms, our clock
		started INTEGER NOT NULL DEFAULT 0, -- unix ms, our clock, when we acknowledged the start
		receipt BLOB,                 -- the last receipt with both signatures
		away BLOB,                    -- the last signed wire.Away
		text TEXT NOT NULL DEFAULT ''
	) WITHOUT ROWID`,
	`CREATE INDEX leases_by_job ON leases (job)`,
	`CREATE UNIQUE INDEX leases_by_id ON leases (lease_id) WHERE lease_id IS NOT NULL`,
	`CREATE TABLE tasks (
		job BLOB NOT NULL,
		idx INTEGER NOT NULL,
		result BLOB NOT NULL,         -- JSON
		PRIMARY KEY (job, idx)
	) WITHOUT ROWID`,
	`CREATE TABLE volumes (
		name TEXT PRIMARY KEY,
		order_hash BLOB NOT NULL,     -- the last that had it
		receipt_seed BLOB NOT NULL,   -- of that order
		provider TEXT NOT NULL,
		moniker TEXT NOT NULL,
		node BLOB NOT NULL,
		addrs TEXT NOT NULL,          -- JSON list of multiaddrs
		bytes INTEGER NOT NULL,
		used INTEGER NOT NULL         -- unix ms, when a lease last got it
	) WITHOUT ROWID`,
	`ALTER TABLE leases ADD COLUMN isolation TEXT NOT NULL DEFAULT ''`, // the tier that its provider says it runs at
}

// Journal is an open journal. It may be used by many goroutines and shared with
// other processes of the same home.
type Journal struct {
	db   *sql.DB
	path string
}

// Open opens or creates the journal in a home folder.
func Open(ctx context.Context, home string) (*Journal, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	path := filepath.Join(home, fileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	_ = f.Close()
	query := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	j := &Journal{db: db, path: path}
	if err := j.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), db.Close())
	}
	return j, nil
}

// Close closes the journal.
func (j *Journal) Close() error { return j.db.Close() }

// migrate applies the statements this file has not seen; user_version counts
// them.
func (j *Journal) migrate(ctx context.Context) error {
	return j.tx(ctx, func(tx *sql.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
			return err
		}
		if have > len(schema) {
			return fmt.Errorf("written by a newer version (schema %d, this knows %d)", have, len(schema))
		}
		for _, s := range schema[have:] {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(schema)))
		return err
	})
}

func (j *Journal) tx(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// exec runs one statement that must change exactly one row.
func (j *Journal) exec(ctx context.Context, what, query string, args ...any) error {
	res, err := j.db.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("journal %s: %w", what, err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fmt.Errorf("journal %s: %w", what, ErrNone)
	}
	return nil
}

func unixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMS(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

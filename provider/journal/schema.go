package journal

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations bring a file from version i to i+1. They are append-only: a file of
// any older version is brought up to date when it is opened.
var migrations = []string{
	`
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- slots: the last generation ever used of each. It only grows.
CREATE TABLE slots (slot INTEGER PRIMARY KEY, generation INTEGER NOT NULL) STRICT;

-- leases: one row from the moment Ready is signed. The signed objects never
-- change; state is leasing.State as JSON.
CREATE TABLE leases (
	id         BLOB PRIMARY KEY,
	order_hash BLOB NOT NULL,
	slot       INTEGER NOT NULL,
	generation INTEGER NOT NULL,
	order_obj  BLOB NOT NULL,
	bid        BLOB NOT NULL,
	manifest   BLOB NOT NULL,
	ready      BLOB NOT NULL,
	tenant     TEXT NOT NULL,
	work       INTEGER NOT NULL,
	chain      INTEGER NOT NULL,
	state      TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	changed_ms INTEGER NOT NULL,
	done       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX leases_live ON leases (done, created_ms);

-- tasks: how each index of a lease ended; outcome is leasing.Outcome as JSON.
CREATE TABLE tasks (
	lease   BLOB NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
	idx     INTEGER NOT NULL,
	outcome TEXT NOT NULL,
	PRIMARY KEY (lease, idx)
) STRICT, WITHOUT ROWID;

-- earned: one row per lease the chain has paid; outlives the lease's row.
CREATE TABLE earned (
	lease     BLOB PRIMARY KEY,
	denom     TEXT NOT NULL,
	billed_ms INTEGER NOT NULL,
	provider  TEXT NOT NULL,
	closed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- totals: the sums over earned, kept in step with it.
CREATE TABLE totals (
	denom     TEXT PRIMARY KEY,
	leases    INTEGER NOT NULL,
	billed_ms INTEGER NOT NULL,
	provider  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
	id       TEXT PRIMARY KEY,
	severity TEXT NOT NULL,
	text     TEXT NOT NULL,
	since_ms INTEGER NOT NULL,
	count    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
	`
-- notes: what happened to a lease, for its tenant; the newest of each chapter.
CREATE TABLE notes (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	lease   BLOB NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
	chapter INTEGER NOT NULL,
	at_ms   INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	text    TEXT NOT NULL
) STRICT;
CREATE INDEX notes_of ON notes (lease, chapter, seq);
`,
	`
-- secrets: what a tenant sealed to this node for one lease, as it came.
CREATE TABLE secrets (lease BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- volumes: tenants' folders that outlive their leases; file is the name in the
-- folder of volumes, keep_until is 0 while the lease has it.
CREATE TABLE volumes (
	payer       BLOB NOT NULL,
	name        TEXT NOT NULL,
	file        TEXT NOT NULL,
	bytes       INTEGER NOT NULL,
	lease       BLOB NOT NULL,
	order_hash  BLOB NOT NULL,
	receipt_key BLOB NOT NULL,
	keep_ms     INTEGER NOT NULL,
	keep_until  INTEGER NOT NULL,
	PRIMARY KEY (payer, name)
) STRICT, WITHOUT ROWID;
`,
}

func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("%w (schema %d, this one knows %d)", ErrNewer, version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, migrations[version]+fmt.Sprintf("PRAGMA user_version = %d;", version+1)); err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("schema %d: %w", version+1, err)
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("schema %d: %w", version+1, err)
		}
	}
	return nil
}

package journal

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/moyai-network/moyai/provider/leasing"
)

// MaxNotes is how many notes of each chapter of a lease are kept: the newest.
const MaxNotes = 256

// Note is one thing that happened to a lease.
type Note struct {
	Seq  int64 // grows; tells a later reading where to go on
	AtMS int64 // unix ms
	leasing.Note
}

// AddNotes writes what happened. A lease that is not in the journal (any more) is
// left alone: its notes went with it.
func (j *Journal) AddNotes(ctx context.Context, id ID, atMS int64, notes ...leasing.Note) error {
	return j.update(ctx, func(tx *sql.Tx) error { return addNotes(tx, id, atMS, notes) })
}

func addNotes(tx *sql.Tx, id ID, atMS int64, notes []leasing.Note) error {
	for _, n := range notes {
		_, err := tx.Exec(`INSERT INTO notes (lease, chapter, at_ms, kind, text)
			SELECT id, ?, ?, ?, ? FROM leases WHERE id = ?`, n.Chapter, atMS, n.Kind, n.Text, id[:])
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM notes WHERE lease = ?1 AND chapter = ?2 AND seq <= (
			SELECT seq FROM notes WHERE lease = ?1 AND chapter = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)`, id[:], n.Chapter, MaxNotes)
		if err != nil {
			return err
		}
	}
	return nil
}

// Notes returns what happened to a lease after a note, oldest first.
func (j *Journal) Notes(ctx context.Context, id ID, after int64) ([]Note, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT seq, at_ms, chapter, kind, text FROM notes WHERE lease = ? AND seq > ? ORDER BY seq`, id[:], after)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Note
	for rows.Next() {
		var n Note
		if err := rows.Scan(&n.Seq, &n.AtMS, &n.Chapter, &n.Kind, &n.Text); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

package journal

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Job is one Run of the client.
type Job struct {
	ID       []byte
	Created  time.Time
	Spec     json.RawMessage // the client's own
	Manifest []byte
	Stopping bool // somebody asked for its end: nothing new is dealt or bought
	Detached bool // nobody waits for it: its leases run to their end alone
	Done     bool // every task ended and every lease is settled
}

// AddJob writes a new job.
func (j *Journal) AddJob(ctx context.Context, job Job) error {
	return j.exec(ctx, "job", `INSERT INTO jobs (id, created, spec, manifest) VALUES (?,?,?,?)`,
		job.ID, unixMS(job.Created), []byte(job.Spec), job.Manifest)
}

// SetStopping records that the job shall end early.
func (j *Journal) SetStopping(ctx context.Context, job []byte) error {
	return j.exec(ctx, "job", `UPDATE jobs SET stopping = 1 WHERE id = ?`, job)
}

// SetDetached records whether the job runs without anybody waiting for it.
func (j *Journal) SetDetached(ctx context.Context, job []byte, detached bool) error {
	return j.exec(ctx, "job", `UPDATE jobs SET detached = ? WHERE id = ?`, detached, job)
}

// SetDone records that nothing is left to do.
func (j *Journal) SetDone(ctx context.Context, job []byte) error {
	return j.exec(ctx, "job", `UPDATE jobs SET done = 1 WHERE id = ?`, job)
}

const jobColumns = `id, created, spec, manifest, stopping, detached, done`

func scanJob(row interface{ Scan(...any) error }) (Job, error) {
	var job Job
	var created int64
	var spec []byte
	err := row.Scan(&job.ID, &created, &spec, &job.Manifest, &job.Stopping, &job.Detached, &job.Done)
	job.Created, job.Spec = fromMS(created), spec
	return job, err
}

// JobByID returns a job, or ErrNone.
func (j *Journal) JobByID(ctx context.Context, id []byte) (Job, error) {
	job, err := scanJob(j.db.QueryRowContext(ctx, `SELECT `+jobColumns+` FROM jobs WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, fmt.Errorf("job %x: %w", id, ErrNone)
	}
	if err != nil {
		return Job{}, fmt.Errorf("journal: %w", err)
	}
	return job, nil
}

// Jobs lists jobs, newest first; open ones only unless all.
func (j *Journal) Jobs(ctx context.Context, all bool) ([]Job, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT `+jobColumns+` FROM jobs WHERE done = 0 OR ? ORDER BY created DESC`, all)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer rows.Close()
	var out []Job
	for rows.Next() {
		job, err := scanJob(rows)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		out = append(out, job)
	}
	return out, rows.Err()
}

// Find resolves text, the beginning of a lease id or a job id in hex, to a job.
// lease is nil if a job was named. ErrNone or ErrAmbiguous otherwise.
func (j *Journal) Find(ctx context.Context, text string) (job, lease []byte, err error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" || strings.Trim(text, "0123456789abcdef") != "" {
		return nil, nil, fmt.Errorf("%q is not a lease id (hex digits): %w", text, ErrNone)
	}
	rows, err := j.db.QueryContext(ctx, `
		SELECT job, lease_id FROM leases WHERE lease_id IS NOT NULL AND substr(lower(hex(lease_id)), 1, ?1) = ?2
		UNION SELECT id, NULL FROM jobs WHERE substr(lower(hex(id)), 1, ?1) = ?2 LIMIT 2`, len(text), text)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(&job, &lease); err != nil {
			return nil, nil, fmt.Errorf("journal: %w", err)
		}
	}
	switch {
	case rows.Err() != nil:
		return nil, nil, fmt.Errorf("journal: %w", rows.Err())
	case n == 0:
		return nil, nil, fmt.Errorf("%s: %w", text, ErrNone)
	case n > 1:
		return nil, nil, fmt.Errorf("%s: %w; give more digits", text, ErrAmbiguous)
	}
	return job, lease, nil
}

// SetTask writes what is known of one index.
func (j *Journal) SetTask(ctx context.Context, job []byte, index uint64, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("journal task: %w", err)
	}
	return j.exec(ctx, "task", `INSERT INTO tasks (job, idx, result) VALUES (?,?,?)
		ON CONFLICT (job, idx) DO UPDATE SET result = excluded.result`, job, int64(index), raw)
}

// Tasks calls fn with every written index of a job, in order.
func (j *Journal) Tasks(ctx context.Context, job []byte, fn func(index uint64, result json.RawMessage) error) error {
	rows, err := j.db.QueryContext(ctx, `SELECT idx, result FROM tasks WHERE job = ? ORDER BY idx`, job)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var index int64
		var raw []byte
		if err := rows.Scan(&index, &raw); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if err := fn(uint64(index), raw); err != nil {
			return err
		}
	}
	return rows.Err()
}

// JobName is how people name a job.
func JobName(id []byte) string { return hex.EncodeToString(id) }

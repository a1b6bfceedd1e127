package journal

import "context"

// Pragmas reads what the writing connection really runs with.
func (j *Journal) Pragmas(ctx context.Context) (mode string, sync int) {
	_ = j.write.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode)
	_ = j.write.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&sync)
	return mode, sync
}

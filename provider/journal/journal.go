// Package journal is a provider's memory: a SQLite file, written before acting.
// What it has acknowledged survives kill -9 and a power cut (WAL with
// synchronous=FULL); what it has not acknowledged, the provider has not done.
//
// It stores and finds; it decides nothing. States of leases are opaque to it but
// for the few columns people and indexes want, and it knows neither the chain nor
// the network.
//
// Writes are committed in groups: whatever waits while one commit is being
// flushed shares the next. A provider with a hundred leases then flushes its disk
// as often as one with three.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/moyai-network/moyai/mechanism/amount"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// Sentinels of this package.
var (
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not in the journal")
	// ErrNewer: the file was written by a newer version of this program.
	ErrNewer = errors.New("journal was written by a newer version: upgrade moyai")
	// ErrForeign: the file belongs to another node key or chain.
	ErrForeign = errors.New("journal belongs to another node or chain")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("journal is closed")
)

// Options of Open.
type Options struct {
	// Path of the file; its folder must exist.
	Path string
	// ChainID and Node (32 bytes) bind a new file to one machine on one chain; an
	// existing file bound to others is ErrForeign. Both are part of every lease
	// id, so mixing them would never be right.
	ChainID string
	Node    []byte
	// Commit, if not nil, is called around the n-th commit, n from 0: before it
	// with done false, after it with done true. It is where tests end a process.
	Commit func(n uint64, done bool)
}

// Journal is an open file. Its methods may be called from many goroutines.
type Journal struct {
	write, read *sql.DB
	commit      func(n uint64, done bool)

	queue  chan *job
	stop   chan struct{}
	ended  chan struct{}
	closer sync.Once

	mu     sync.Mutex
	totals map[string]Total
}

// Total is what one denomination brought over every closed lease.
type Total struct {
	Denom    string
	Leases   uint64
	BilledMS uint64
	Provider amount.Amount
}

// Open opens or makes the file.
func Open(ctx context.Context, o Options) (*Journal, error) {
	write, err := sql.Open("sqlite", dsn(o.Path, "immediate"))
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", o.Path, err)
	}
	write.SetMaxOpenConns(1) // SQLite has one writer; waiting here is fairer than SQLITE_BUSY
	j := &Journal{
		write: write, commit: o.Commit, queue: make(chan *job, maxBatch),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := j.prepare(ctx, o); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("open journal %s: %w", o.Path, err)
	}
	if j.read, err = sql.Open("sqlite", dsn(o.Path, "deferred")+"&_pragma=query_only(1)"); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("open journal %s: %w", o.Path, err)
	}
	j.read.SetMaxOpenConns(4)
	if j.totals, err = j.loadTotals(ctx); err != nil {
		_ = errors.Join(write.Close(), j.read.Close())
		return nil, fmt.Errorf("open journal %s: %w", o.Path, err)
	}
	go j.run()
	return j, nil
}

func dsn(path, lock string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_txlock=" + lock +
		"&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
}

func (j *Journal) prepare(ctx context.Context, o Options) error {
	if err := migrate(ctx, j.write); err != nil {
		return err
	}
	for _, bind := range []struct{ key, value string }{
		{"chain", o.ChainID}, {"node", fmt.Sprintf("%x", o.Node)},
	} {
		var have string
		err := j.write.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, bind.key).Scan(&have)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if _, err := j.write.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES (?, ?)`, bind.key, bind.value); err != nil {
				return err
			}
		case err != nil:
			return err
		case have != bind.value:
			return fmt.Errorf("%w: its %s is %s, this one's is %s", ErrForeign, bind.key, have, bind.value)
		}
	}
	return nil
}

// Close waits for writes under way and closes the file.
func (j *Journal) Close() error {
	var err error
	j.closer.Do(func() {
		close(j.stop)
		<-j.ended
		err = errors.Join(j.read.Close(), j.write.Close())
	})
	return err
}

// maxBatch bounds how many writes share a commit.
const maxBatch = 256

// job is one write waiting for its commit.
type job struct {
	do   func(*sql.Tx) error
	done chan error
	err  error
}

// update runs do inside the next commit and returns once that is on disk. do may
// run twice if the first commit fails for another job's sake; it must only touch
// the transaction.
func (j *Journal) update(ctx context.Context, do func(*sql.Tx) error) error {
	w := &job{do: do, done: make(chan error, 1)}
	select {
	case j.queue <- w:
	case <-j.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	// Not ctx: whether it was written must be known, or the caller could neither
	// act nor not act.
	select {
	case err := <-w.done:
		return err
	case <-j.ended:
		select {
		case err := <-w.done:
			return err
		default:
			return ErrClosed
		}
	}
}

func (j *Journal) run() {
	defer close(j.ended)
	var n uint64
	for {
		select {
		case w := <-j.queue:
			j.flush(w, &n)
		case <-j.stop:
			for { // those already queued were promised an answer
				select {
				case w := <-j.queue:
					j.flush(w, &n)
				default:
					return
				}
			}
		}
	}
}

func (j *Journal) flush(first *job, n *uint64) {
	batch := []*job{first}
	for len(batch) < maxBatch {
		select {
		case w := <-j.queue:
			batch = append(batch, w)
			continue
		default:
		}
		break
	}
	err := j.commitBatch(batch, *n)
	*n++
	for _, w := range batch {
		w.done <- errors.Join(err, w.err)
	}
}

// commitBatch applies every job under a savepoint of its own, so that one that
// fails does not take the others with it.
func (j *Journal) commitBatch(batch []*job, n uint64) error {
	ctx := context.Background()
	tx, err := j.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	for _, w := range batch {
		if _, err := tx.Exec(`SAVEPOINT job`); err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("write journal: %w", err)
		}
		if w.err = w.do(tx); w.err != nil {
			if _, err := tx.Exec(`ROLLBACK TO job`); err != nil {
				_ = tx.Rollback()
				return fmt.Errorf("write journal: %w", errors.Join(w.err, err))
			}
		}
		if _, err := tx.Exec(`RELEASE job`); err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("write journal: %w", err)
		}
	}
	if j.commit != nil {
		j.commit(n, false)
	}
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		return fmt.Errorf("write journal: %w", err)
	}
	if j.commit != nil {
		j.commit(n, true)
	}
	return nil
}
